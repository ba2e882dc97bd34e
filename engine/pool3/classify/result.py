"""What a classifier reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


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


@dataclass(frozen=True, slots=True)
class GridPoint:
    """One point of a grid.

    Attributes:
        parameters: name → value.
        mean: of the folds' accuracies.
        sd: their standard deviation with n - 1 in the denominator.
    """

    parameters: dict[str, float]
    mean: float
    sd: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Grid:
    """A search over parameters by cross-validation on the training rows alone.

    Attributes:
        points: in the order given; the first of the highest mean was refitted on all training rows.
        best: its number in `points`.
        folds: count of folds.
        seed: that they were drawn by.
        seconds: wall time of the search.
    """

    points: tuple[GridPoint, ...]
    best: int
    folds: int
    seed: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; the time rounded to the millisecond."""
        return {
            "points": [point.to_dict() for point in self.points],
            "best": self.best,
            "folds": self.folds,
            "seed": self.seed,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ClassifyResult:
    """What a classifier reached on features.

    Attributes:
        accuracy: share of the test rows predicted right.
        accuracy_interval: its 95 % interval by Wilson, see `pool3.classify.scoring.wilson`.
        n_train: count of rows trained on.
        n_test: count of rows tested on.
        skipped_unlabelled: count of rows of all files that had no label and took no part.
        label_names: the K classes that were trained, in the training file's order.
        per_class: one score a class.
        confusion_matrix: (K, K) int64; row: the true class, column: the predicted one.
        predictions: (n_test,) int32 indices into `label_names`.
        decision: (n_test, K) float64, or None where the model has none (SVC of cuML with more than 2 classes). The
            higher, the likelier; no probabilities. ``svc``: votes of the K (K - 1) / 2 machines plus the sum of their
            values squeezed into ±1/3, scikit-learn's "ovr" shape; the highest is the prediction but where votes tie,
            which libsvm gives to the first class. ``linear-svc``: signed values of the hyperplanes; ``logistic``:
            logits up to a constant; ``knn``: share of the k neighbours; ``centroid``: minus the distance.
        test_rows: (n_test,) int64, the rows of the test file that the predictions are of.
        backend: what ran: ``cuml``, ``intelex`` or ``sklearn``.
        backend_version: its version.
        backend_reason: why it was that one.
        model: one of `pool3.classify.MODELS`.
        parameters: name → value, of those that the model has; after a grid those of its best point.
        grid: the search, or None.
        kernel: ``linear`` or ``rbf``; empty for other models than ``svc``.
        C: the penalty; nan for models that have none.
        fit_seconds: wall time of the fit.
        predict_seconds: wall time of the prediction and the decision scores.
    """

    accuracy: float
    accuracy_interval: tuple[float, float]
    n_train: int
    n_test: int
    skipped_unlabelled: int
    label_names: tuple[str, ...]
    per_class: tuple[ClassScore, ...]
    confusion_matrix: NDArray[np.int64]
    predictions: NDArray[np.int32]
    decision: NDArray[np.float64] | None
    test_rows: NDArray[np.int64]
    backend: str
    backend_version: str
    backend_reason: str
    model: str
    parameters: dict[str, float | str]
    grid: Grid | None
    kernel: str
    C: float
    fit_seconds: float
    predict_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """All but the rows' predictions and scores, JSON-able; times rounded to the millisecond."""
        return {
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
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
            "model": self.model,
            "parameters": self.parameters,
            "grid": self.grid.to_dict() if self.grid else None,
            "kernel": self.kernel or None,
            "C": self.C if "C" in self.parameters else None,
            "fit_seconds": round(self.fit_seconds, 3),
            "predict_seconds": round(self.predict_seconds, 3),
        }
