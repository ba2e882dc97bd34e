"""The search for parameters, on the training rows alone."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pool3.classify.backends import Choice, make_model
from pool3.classify.models import Settings
from pool3.classify.result import Grid, GridPoint
from pool3.errors import EvaluationError
from pool3.watching import Watch, unwatched


def points(wanted: Settings, grid: Mapping[str, Sequence[float]]) -> list[dict[str, float]]:
    """All combinations of a grid's values, each checked.

    Raises:
        EvaluationError: a parameter has no values or a wrong one, or the model does not have it.
    """
    for name, values in grid.items():
        if not len(values):
            raise EvaluationError(f"the grid of {name} has no values; give some, as in {name}=1,10")
    found = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    for point in found:
        wanted.at(point)
    return found


def check_folds(folds: int) -> None:
    """Raise `EvaluationError` for fewer folds than two."""
    if folds < 2:
        raise EvaluationError(f"cross-validation needs at least 2 folds; received {folds}")


def search(
    wanted: Settings,
    choice: Choice,
    grid: Mapping[str, Sequence[float]],
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    *,
    folds: int,
    seed: int,
    watch: Watch | None = None,
) -> Grid:
    """Cross-validate each point of a grid, on the same stratified, seeded folds.

    Raises:
        EvaluationError: a class has fewer rows than there are folds.
    """
    from sklearn.model_selection import StratifiedKFold

    if (least := int(np.bincount(y).min())) < folds:
        raise EvaluationError(
            f"a class has {least} training rows, too few for {folds} folds; give fewer --folds or extract more images"
        )
    start = time.perf_counter()
    parts = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, y))
    tried = points(wanted, grid)
    found = []
    with (watch or unwatched)("cross-validating", "fits") as report:
        report(0, len(tried) * folds)
        for number, point in enumerate(tried):
            reached = []
            for fold, (learn, ask) in enumerate(parts, 1):
                model = make_model(wanted.at(point), choice, seed=seed).fit(x[learn], y[learn])
                reached.append(float((model.predict(x[ask]) == y[ask]).mean()))
                report(number * folds + fold, len(tried) * folds)
            found.append(GridPoint(point, float(np.mean(reached)), float(np.std(reached, ddof=1))))
    best = int(np.argmax([point.mean for point in found]))
    return Grid(tuple(found), best, folds, seed, time.perf_counter() - start)
