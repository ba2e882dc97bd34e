"""From labelled rows to what a classifier reaches on others."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from pool3.classify import data, scoring
from pool3.classify.backends import Choice, make_model
from pool3.classify.data import Labelled
from pool3.classify.fitting import Classifier
from pool3.classify.grid import points, search
from pool3.classify.hours import warn_of_hours
from pool3.classify.models import Settings
from pool3.classify.result import ClassifyResult
from pool3.errors import EvaluationError
from pool3.watching import Watch


def evaluate(
    learn: Labelled,
    ask: Labelled,
    wanted: Settings,
    choice: Choice,
    *,
    grid: Mapping[str, Sequence[float]] | None = None,
    folds: int = 5,
    seed: int = 0,
    given: str = "the training set",
    watch: Watch | None = None,
) -> tuple[ClassifyResult, Classifier]:
    """Train on some rows and test on others.

    Args:
        learn: rows to train on.
        ask: rows to test on, of the classes of `learn`.
        wanted: the model.
        choice: what runs it.
        grid: parameter → values to try by cross-validation on `learn` alone; the best is refitted on all of it.
        folds: of that.
        seed: of the folds, and of solvers that draw.
        given: what to call `learn` in a message.
        watch: told how far a grid has come.

    Returns:
        What was reached, and the fitted model, whose classes are the result's `label_names`.

    Raises:
        EvaluationError: there is a single class, or too few rows for the folds or neighbours asked for.
    """
    present = set(learn.classes)
    names = tuple(name for name in learn.names if name in present)
    if len(names) < 2:
        raise EvaluationError(
            f"{given} has rows of {len(names)} class ({', '.join(names)}), where a classifier needs at least 2"
        )
    y, truth = data.numbers(learn.classes, names), data.numbers(ask.classes, names)
    # A fold's fit sees (folds - 1) / folds of the rows.
    fits = 1 + (len(points(wanted, grid)) * folds * ((folds - 1) / folds) ** 2 if grid else 0)
    warn_of_hours(wanted, choice.backend, len(learn.rows), learn.features.shape[1], fits)
    searched = None
    if grid:
        searched = search(wanted, choice, grid, learn.features, y, folds=folds, seed=seed, watch=watch)
        wanted = wanted.at(searched.points[searched.best].parameters)
    start = time.perf_counter()
    model = make_model(wanted, choice, seed=seed).fit(learn.features, y)
    fitted = time.perf_counter()
    answers, decision = model.answer(ask.features)
    predicted = time.perf_counter()
    confusion = scoring.confusion_of(truth, answers, len(names))
    right = int((truth == answers).sum())
    result = ClassifyResult(
        accuracy=right / len(truth),
        accuracy_interval=scoring.wilson(right, len(truth)),
        n_train=len(learn.rows),
        n_test=len(ask.rows),
        skipped_unlabelled=learn.skipped + ask.skipped,
        label_names=names,
        per_class=scoring.scores(names, confusion),
        confusion_matrix=confusion,
        predictions=answers.astype(np.int32),
        decision=decision,
        test_rows=ask.rows,
        backend=choice.backend,
        backend_version=choice.version,
        backend_reason=choice.reason,
        model=wanted.model,
        parameters=wanted.parameters,
        grid=searched,
        kernel=wanted.kernel,
        C=float(wanted.parameters.get("C", float("nan"))),
        fit_seconds=fitted - start,
        predict_seconds=predicted - fitted,
    )
    return result, model
