"""A support vector machine on feature files: the blog's evidence that features are good."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pool3.comparable import check_comparable
from pool3.errors import EvaluationError
from pool3.store import FeatureFile, open_features

KERNELS = ("linear", "rbf")
"""Kernels that `classify` takes."""

BACKENDS = ("auto", "sklearn", "intelex")
"""Implementations of the SVM; ``auto`` takes ``intelex`` where it is installed."""

MANY_ROWS = 50_000
"""Rows to train on from which `classify` warns: the time to fit grows with about their square."""


class Model(Protocol):
    """What is used of a classifier of scikit-learn's kind."""

    def fit(self, x: NDArray[np.float32], y: NDArray[np.int64]) -> Self:
        """Train on features (n, D) and classes (n,)."""

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.int64]:
        """The class of each of the features (n, D)."""


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How one class fared in the test.

    Attributes:
        name: the class.
        precision: share of the rows predicted as this class that are of it; 0 where none was.
        recall: share of the class's rows that were predicted as it; 0 where there is none.
        f1: harmonic mean of the two.
        support: count of the class's rows in the test.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ClassifyResult:
    """What an SVM reached on features.

    Attributes:
        accuracy: share of the test rows predicted right.
        n_train: count of rows trained on.
        n_test: count of rows tested on.
        skipped_unlabelled: count of rows of all files that had no label and took no part.
        label_names: the K classes that were trained, in the training file's order.
        per_class: one score a class.
        confusion_matrix: (K, K) int64; row: the true class, column: the predicted one.
        predictions: (n_test,) int32 indices into `label_names`.
        test_rows: (n_test,) int64, the rows of the test file that the predictions are of.
        backend: what ran: ``sklearn`` or ``intelex``.
        backend_version: its version.
        backend_reason: why it was that one.
        kernel: ``linear`` or ``rbf``.
        C: the SVM's penalty.
        fit_seconds: wall time of the fit.
        predict_seconds: wall time of the prediction.
    """

    accuracy: float
    n_train: int
    n_test: int
    skipped_unlabelled: int
    label_names: tuple[str, ...]
    per_class: tuple[ClassScore, ...]
    confusion_matrix: NDArray[np.int64]
    predictions: NDArray[np.int32]
    test_rows: NDArray[np.int64]
    backend: str
    backend_version: str
    backend_reason: str
    kernel: str
    C: float
    fit_seconds: float
    predict_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """All but the predictions, JSON-able; times rounded to the millisecond."""
        return {
            "accuracy": self.accuracy,
            "n_train": self.n_train,
            "n_test": self.n_test,
            "skipped_unlabelled": self.skipped_unlabelled,
            "label_names": list(self.label_names),
            "per_class": [
                {name: getattr(score, name) for name in ClassScore.__slots__} for score in self.per_class
            ],
            "confusion_matrix": self.confusion_matrix.tolist(),
            "backend": self.backend,
            "backend_version": self.backend_version,
            "backend_reason": self.backend_reason,
            "kernel": self.kernel,
            "C": self.C,
            "fit_seconds": round(self.fit_seconds, 3),
            "predict_seconds": round(self.predict_seconds, 3),
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Labelled:
    """The labelled rows of a file: features (n, D), class names (n,), their rows (n,), and how many had no label."""

    features: NDArray[np.float32]
    classes: NDArray[np.object_]
    rows: NDArray[np.int64]
    names: tuple[str, ...]
    skipped: int


def classify(
    train: str | os.PathLike[str],
    test: str | os.PathLike[str] | None = None,
    *,
    C: float = 0.1,  # noqa: N803 - the name that scikit-learn and the literature use
    kernel: str = "linear",
    backend: str = "auto",
    test_fraction: float = 0.5,
    seed: int = 0,
) -> ClassifyResult:
    """Train an SVM on one feature file and test it on another, or on a part of the same one.

    The features enter as they are, unscaled, and ``SVC(kernel="linear", C=0.1)`` is the default: both as in the
    blog post of 2016 ("Deep learning for lazybones") that pool3 repeats. Rows without a label take no part.

    Args:
        train: feature file to train on.
        test: feature file to test on, whose classes are matched by name; None to split `train`.
        C: penalty, above 0.
        kernel: one of `KERNELS`.
        backend: one of `BACKENDS`.
        test_fraction: share of the rows to test on where there is one file; drawn within each class.
        seed: of that draw.

    Raises:
        EvaluationError: an argument is not one of these, labels are missing, there is a single class, a class is
            too small to split or unknown to the training file, the two files hold features of different kinds,
            or the backend asked for is not installed.
        StoreError: a file is damaged; `StoreNotFoundError` where there is none.
    """
    _check(C, kernel, backend, test_fraction)
    with open_features(train) as file:
        known = _labelled(file)
        if test is None:
            learn, ask = _split(known, test_fraction, seed, file)
        else:
            with open_features(test) as other:
                check_comparable(file, other)
                learn, ask = known, _labelled(other)
                _check_known(learn, ask, file, other)
    skipped = known.skipped if test is None else learn.skipped + ask.skipped
    present = set(learn.classes)
    names = tuple(name for name in learn.names if name in present)
    if len(names) < 2:
        raise EvaluationError(
            f"{train} has rows of {len(names)} class ({', '.join(names)}), where an SVM needs at least 2"
        )
    number = {name: i for i, name in enumerate(names)}
    if len(learn.rows) > MANY_ROWS:
        warnings.warn(
            f"training on {len(learn.rows):,} rows: the time of an SVM grows with about the square of their count",
            stacklevel=2,
        )
    model, chosen, release, reason = make_model(backend, kernel, C)
    start = time.perf_counter()
    model.fit(learn.features, _numbers(learn.classes, number))
    fitted = time.perf_counter()
    _check_ran(model, chosen)
    predictions = np.asarray(model.predict(ask.features), np.int64)
    predicted = time.perf_counter()
    truth = _numbers(ask.classes, number)
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (truth, predictions), 1)
    return ClassifyResult(
        accuracy=float((truth == predictions).mean()),
        n_train=len(learn.rows),
        n_test=len(ask.rows),
        skipped_unlabelled=skipped,
        label_names=names,
        per_class=_scores(names, confusion),
        confusion_matrix=confusion,
        predictions=predictions.astype(np.int32),
        test_rows=ask.rows,
        backend=chosen,
        backend_version=release,
        backend_reason=reason,
        kernel=kernel,
        C=C,
        fit_seconds=fitted - start,
        predict_seconds=predicted - fitted,
    )


def _check(penalty: float, kernel: str, backend: str, test_fraction: float) -> None:
    if not 0 < penalty < float("inf"):
        raise EvaluationError(f"C must be a finite number above 0; received {penalty}")
    if kernel not in KERNELS:
        raise EvaluationError(f"unknown kernel {kernel!r}; choose one of {', '.join(KERNELS)}")
    if backend not in BACKENDS:
        raise EvaluationError(f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    if not 0 < test_fraction < 1:
        raise EvaluationError(f"the test fraction must lie between 0 and 1; received {test_fraction}")


def _labelled(file: FeatureFile) -> _Labelled:
    labels = file.labels
    rows = np.flatnonzero(labels >= 0)
    if not len(rows):
        raise EvaluationError(
            f"{file.path} has no labelled row; extract from a source with labels, such as one folder a class"
        )
    features = file.features[:] if len(rows) == len(file) else file.features[rows]
    if not np.isfinite(features).all():
        raise EvaluationError(f"{file.path} holds features that are no finite numbers; extract them again")
    classes = np.asarray(file.label_names, dtype=object)[labels[rows]]
    return _Labelled(features, classes, rows, file.label_names, len(file) - len(rows))


def _split(all_: _Labelled, fraction: float, seed: int, file: FeatureFile) -> tuple[_Labelled, _Labelled]:
    """Draw the test rows within each class."""
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
    learn, ask = (
        _Labelled(all_.features[part], all_.classes[part], all_.rows[part], all_.names, all_.skipped)
        for part in map(np.sort, parts)
    )
    return learn, ask


def _check_known(learn: _Labelled, ask: _Labelled, train: FeatureFile, test: FeatureFile) -> None:
    if unknown := sorted(set(ask.classes) - set(learn.classes)):
        raise EvaluationError(
            f"{test.path} has rows of {_listed(unknown)}, of which {train.path} has none to train on; "
            "extract both from sources with the same classes"
        )


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _numbers(classes: NDArray[np.object_], number: dict[str, int]) -> NDArray[np.int64]:
    return np.fromiter((number[name] for name in classes), np.int64, len(classes))


def make_model(backend: str, kernel: str, penalty: float) -> tuple[Model, str, str, str]:
    """Make the SVM; return it with the backend's name, its version, and why it is that one.

    Raises:
        EvaluationError: the backend asked for is not installed.
    """
    reason = "asked for"
    if backend in ("auto", "intelex"):
        try:
            from sklearnex.svm import SVC as IntelSVC  # noqa: N811 - the brand tells it from the other
        except ImportError as error:
            if backend == "intelex":
                raise EvaluationError(
                    f"the backend intelex cannot be imported ({error}); "
                    "install it by pip install 'pool3[intelex]', or choose another"
                ) from error
            reason = f"auto: scikit-learn-intelex cannot be imported ({error})"
        else:
            reason = "auto: scikit-learn-intelex is installed" if backend == "auto" else reason
            model: Model = IntelSVC(kernel=kernel, C=penalty)
            return model, "intelex", version("scikit-learn-intelex"), reason
    from sklearn.svm import SVC

    plain: Model = SVC(kernel=kernel, C=penalty)
    return plain, "sklearn", version("scikit-learn"), reason


def _check_ran(model: Model, backend: str) -> None:
    """Raise where scikit-learn-intelex handed the work to scikit-learn, which it does without a word.

    Its estimators keep the fitted accelerated model in this attribute, and have none after a fallback.
    """
    if backend == "intelex" and not hasattr(model, "_onedal_estimator"):
        raise EvaluationError(
            "scikit-learn-intelex fell back to scikit-learn for this fit; choose the backend sklearn"
        )


def _scores(names: Sequence[str], confusion: NDArray[np.int64]) -> tuple[ClassScore, ...]:
    scores = []
    for i, name in enumerate(names):
        right, support, claimed = (
            int(n) for n in (confusion[i, i], confusion[i].sum(), confusion[:, i].sum())
        )
        precision = right / claimed if claimed else 0.0
        recall = right / support if support else 0.0
        f1 = 2 * right / (claimed + support) if claimed + support else 0.0
        scores.append(ClassScore(name, precision, recall, f1, support))
    return tuple(scores)
