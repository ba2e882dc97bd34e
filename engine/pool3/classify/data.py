"""The rows to train on and to test on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pool3.errors import EvaluationError
from pool3.store import FeatureFile


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """The labelled rows of a file: features (n, D), class names (n,), their rows (n,), and how many had no label."""

    features: NDArray[np.float32]
    classes: NDArray[np.object_]
    rows: NDArray[np.int64]
    names: tuple[str, ...]
    skipped: int


def labelled(file: FeatureFile) -> Labelled:
    """Read the labelled rows.

    Raises:
        EvaluationError: there is none, or a feature is not finite.
    """
    labels = file.labels
    rows = np.flatnonzero(labels >= 0)
    if not len(rows):
        raise EvaluationError(
            f"{file.path} has no labelled row; extract from a source with labels, such as one folder a class"
        )
    features = read(file, None if len(rows) == len(file) else rows)
    classes = np.asarray(file.label_names, dtype=object)[labels[rows]]
    return Labelled(features, classes, rows, file.label_names, len(file) - len(rows))


def read(file: FeatureFile, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
    """Features as float32, of some rows or of all.

    Raises:
        EvaluationError: one is not finite.
    """
    features = np.asarray(file.features[:] if rows is None else file.features[rows], np.float32)
    if not np.isfinite(features).all():
        raise EvaluationError(f"{file.path} holds features that are no finite numbers; extract them again")
    return features


def split(all_: Labelled, fraction: float, seed: int, file: FeatureFile) -> tuple[Labelled, Labelled]:
    """Draw the test rows within each class.

    Raises:
        EvaluationError: a class is too small for it.
    """
    from sklearn.model_selection import train_test_split

    names, counts = np.unique(all_.classes.astype(str), return_counts=True)
    if small := names[counts < 2].tolist():
        raise EvaluationError(
            f"{file.path} cannot be split: {_listed(small)} has a single row; "
            "name a second file to test on, or extract more images"
        )
    try:
        parts = train_test_split(
            np.arange(len(all_.rows)), test_size=fraction, random_state=seed, stratify=all_.classes
        )
    except ValueError as error:
        raise EvaluationError(
            f"{file.path} cannot be split with a test fraction of {fraction} ({error}); choose one nearer to 0.5"
        ) from error
    # What the file skipped is counted once.
    learn, ask = (
        Labelled(all_.features[part], all_.classes[part], all_.rows[part], all_.names, skipped)
        for part, skipped in zip(map(np.sort, parts), (all_.skipped, 0), strict=True)
    )
    return learn, ask


def check_known(learn: Labelled, ask: Labelled, train: FeatureFile, test: FeatureFile) -> None:
    """Raise `EvaluationError` where the test has a class that nothing is trained on."""
    if unknown := sorted(set(ask.classes) - set(learn.classes)):
        raise EvaluationError(
            f"{test.path} has rows of {_listed(unknown)}, of which {train.path} has none to train on; "
            "extract both from sources with the same classes"
        )


def numbers(classes: NDArray[np.object_], names: Sequence[str]) -> NDArray[np.int64]:
    """(n,) the place of each class in `names`."""
    number = {name: i for i, name in enumerate(names)}
    return np.fromiter((number[name] for name in classes), np.int64, len(classes))


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
