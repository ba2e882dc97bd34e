"""`classify`: from feature files to a result."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pool3.classify import data, saving, tables
from pool3.classify.backends import choose
from pool3.classify.evaluating import evaluate
from pool3.classify.grid import check_folds, points
from pool3.classify.models import settings
from pool3.classify.result import ClassifyResult
from pool3.comparable import check_comparable
from pool3.errors import EvaluationError
from pool3.store import open_features
from pool3.store.outputs import check_output
from pool3.watching import Watch


def classify(
    train: str | os.PathLike[str],
    test: str | os.PathLike[str] | None = None,
    *,
    model: str = "svc",
    C: float | None = None,  # noqa: N803 - the name that scikit-learn and the literature use
    kernel: str | None = None,
    gamma: float | str | None = None,
    k: int | None = None,
    grid: Mapping[str, Sequence[float]] | None = None,
    folds: int = 5,
    backend: str = "auto",
    test_fraction: float = 0.5,
    seed: int = 0,
    save: str | os.PathLike[str] | None = None,
    predictions: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> ClassifyResult:
    """Train a classifier on one feature file and test it on another, or on a part of the same one.

    The features enter as they are, unscaled, and ``SVC(kernel="linear", C=0.1)`` is the default: both as in the
    blog post of 2016 ("Deep learning for lazybones") that pool3 repeats. Rows without a label take no part.

    Args:
        train: feature file to train on.
        test: feature file to test on, whose classes are matched by name; None to split `train`.
        model: one of `MODELS`.
        C: penalty of ``svc``, ``linear-svc`` and ``logistic``, above 0; None: 0.1.
        kernel: of ``svc``, one of `KERNELS`; None: ``linear``.
        gamma: of ``svc`` with the kernel ``rbf``; None: ``scale``.
        k: neighbours of ``knn``; None: 5.
        grid: parameter → values to try by cross-validation on the training rows alone; the best is refitted on all.
        folds: of that, at least 2.
        backend: one of `BACKENDS`.
        test_fraction: share of the rows to test on where there is one file; drawn within each class.
        seed: of that draw, and of the folds.
        save: file for the fitted model, see `pool3.classify.saving`.
        predictions: ``.csv`` file for the predictions, see `pool3.classify.tables`.
        overwrite: replace files that are there.
        watch: told how far a grid has come.

    Raises:
        EvaluationError: an argument is not one of these, labels are missing, there is a single class, a class is
            too small to split or unknown to the training file, the two files hold features of different kinds,
            or the backend asked for is not installed, has no such model, or cannot save it.
        MissingLibraryError: `save` without skops.
        StoreError: a file is damaged, or an output there already; `StoreNotFoundError` where there is none.
    """
    wanted = settings(model, kernel, {"C": C, "gamma": gamma, "k": k})
    points(wanted, grid or {})  # checked before a file is read
    check_folds(folds)
    if not 0 < test_fraction < 1:
        raise EvaluationError(f"the test fraction must lie between 0 and 1; received {test_fraction}")
    if not 0 <= seed < 2**32:
        raise EvaluationError(f"a seed lies between 0 and {2**32 - 1}; received {seed}")
    choice = choose(backend, model)
    inputs = [Path(path) for path in (train, test) if path is not None]
    outputs = [Path(path) for path in (save, predictions) if path is not None]
    for output in outputs:
        check_output(output, *inputs, overwrite=overwrite)
    if len({output.resolve() for output in outputs}) < len(outputs):
        raise EvaluationError(f"{outputs[0]} cannot hold both the model and the predictions; name two files")
    if save is not None:
        saving.check_savable(choice.backend)
    with open_features(train) as file:
        known = data.labelled(file)
        kind = saving.kind_of(file)
        if test is None:
            learn, ask = data.split(known, test_fraction, seed, file)
            ids = file.ids
        else:
            with open_features(test) as other:
                check_comparable(file, other)
                learn, ask = known, data.labelled(other)
                data.check_known(learn, ask, file, other)
                ids = other.ids
    result, fitted = evaluate(
        learn, ask, wanted, choice, grid=grid, folds=folds, seed=seed, given=str(train), watch=watch
    )
    if save is not None:
        y = data.numbers(learn.classes, result.label_names)
        saving.save(Path(save), fitted, result.label_names, kind, learn.features, y)
    if predictions is not None:
        said = [ids[row] for row in ask.rows]
        tables.write(
            Path(predictions),
            said,
            ask.rows,
            list(ask.classes),
            result.predictions,
            result.decision,
            result.label_names,
        )
    return result
