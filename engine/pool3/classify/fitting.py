"""A model that is fitted and asked: the same to all backends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pool3.classify.models import Settings
from pool3.errors import EvaluationError

_BLOCK = 1 << 23
"""Numbers that a block of pairwise decisions may hold: 64 MiB in float64."""


@dataclass(slots=True)
class Classifier:
    """A model of a backend; its classes are 0 to K - 1, each of which it is fitted on.

    Attributes:
        settings: what it is.
        backend: whose estimator it holds.
        estimator: the backend's own.
    """

    settings: Settings
    backend: str
    estimator: Any

    def fit(self, x: NDArray[np.float32], y: NDArray[np.int64]) -> Self:
        """Train on features (n, D) and classes (n,).

        Raises:
            EvaluationError: there are fewer rows than neighbours, or the backend did not run by itself.
        """
        neighbours = self.settings.parameters.get("k", 0)
        if isinstance(neighbours, int) and neighbours > len(x):
            raise EvaluationError(f"k = {neighbours} neighbours of {len(x)} training rows; give a smaller -k")
        self.estimator.fit(x, y)
        if self.backend == "intelex" and not hasattr(self.estimator, "_onedal_estimator"):
            # Its estimators keep the fitted accelerated model in this attribute, and have none after a fallback.
            raise EvaluationError(
                "scikit-learn-intelex fell back to scikit-learn for this fit; choose the backend sklearn"
            )
        return self

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.int64]:
        """(n,) the class of each row."""
        return self.answer(x)[0]

    def answer(self, x: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
        """(n,) the class of each row, and (n, K) decision scores or None; see `ClassifyResult.decision`."""
        if self.settings.model == "svc" and self.backend != "cuml":
            return self._votes(x)
        predictions = np.asarray(self.estimator.predict(x)).astype(np.int64)
        return predictions, self._decision(x)

    def _decision(self, x: NDArray[np.float32]) -> NDArray[np.float64] | None:
        model = self.settings.model
        if model == "knn":
            return np.asarray(self.estimator.predict_proba(x), np.float64)
        if model == "centroid":
            from sklearn.metrics import pairwise_distances

            return -np.asarray(pairwise_distances(x, self.estimator.centroids_), np.float64)
        if model == "svc" and len(self.estimator.classes_) > 2:
            return None  # cuML: the order of its pairs is not documented
        found = np.asarray(self.estimator.decision_function(x), np.float64)
        return _two(found)

    def _votes(self, x: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """One pass over the pairwise machines gives both; asked twice, it would cost twice."""
        count = len(self.estimator.classes_)
        pairs = max(1, count * (count - 1) // 2)
        linear = self.settings.kernel == "linear"
        if linear:
            # The sum over support vectors is a single matrix product: 45 columns, not thousands of kernel values.
            weights = np.asarray(self.estimator.coef_, np.float64).T
            offsets = np.asarray(self.estimator.intercept_, np.float64)
        step = max(1, _BLOCK // (pairs + (x.shape[1] if linear else 0)))
        classes, scores = np.empty(len(x), np.int64), np.empty((len(x), count))
        for start in range(0, len(x), step):
            block = x[start : start + step]
            if linear:
                values = block.astype(np.float64) @ weights + offsets
            else:
                values = np.asarray(self.estimator.decision_function(block), np.float64)
            span = slice(start, start + len(block))
            if count == 2:
                scores[span] = _two(values)
                classes[span] = values.reshape(-1) > 0
            else:
                classes[span], scores[span] = votes(values, count)
        return classes, scores


def _two(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, K) of (n, K); of (n,) or (n, 1), the second class's scores, both classes'."""
    if values.ndim == 2 and values.shape[1] > 1:
        return values
    single = values.reshape(-1)
    return np.stack([-single, single], axis=1)


def votes(values: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """From one-against-one to one-against-rest.

    libsvm (Chang and Lin 2011, section 7) counts votes and gives ties to the first class; the scores are
    scikit-learn's: the votes, plus the sum of the values, squeezed monotonically into ±1/3.

    Args:
        values: (n, K (K - 1) / 2), above 0 for the first class of a pair; pairs in the order (0, 1), (0, 2), ….
        count: K.

    Returns:
        (n,) classes and (n, K) scores.
    """
    won, sums = np.zeros((2, len(values), count))
    first, second = np.triu_indices(count, 1)
    for column, (i, j) in enumerate(zip(first, second, strict=True)):
        value = values[:, column]
        won[:, i] += value > 0
        won[:, j] += value <= 0
        sums[:, i] += value
        sums[:, j] -= value
    return won.argmax(1), won + sums / (3 * (np.abs(sums) + 1))
