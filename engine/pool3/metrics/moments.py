"""The mean and the covariance of rows that come in blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Moments:
    """Mean and covariance so far, in float64.

    Each block is centred on its own mean and joined to what came before by the rule of Chan, Golub and LeVeque,
    "Updating formulae and a pairwise algorithm for computing sample variances" (1979). The sum of squares minus the
    square of the sum would cancel where the mean is large beside the spread.

    Attributes:
        count: rows so far.
        mean: (D,).
        scatter: (D, D), sum over the rows of the outer product of their deviations from `mean`.

    Args:
        width: numbers a row, D.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self.mean: NDArray[np.float64] = np.zeros(width)
        self.scatter: NDArray[np.float64] = np.zeros((width, width))

    def add(self, rows: NDArray[np.float64]) -> None:
        """Take in some rows, (n, D)."""
        count = len(rows)
        if not count:
            return
        mean = rows.mean(axis=0)
        centred = rows - mean
        shift = mean - self.mean
        both = self.count + count
        self.scatter += centred.T @ centred
        self.scatter += np.outer(shift * (self.count * count / both), shift)
        self.mean += shift * (count / both)
        self.count = both

    def covariance(self) -> NDArray[np.float64]:
        """(D, D), of a sample: divided by N - 1, as ``numpy.cov`` does."""
        return self.scatter / (self.count - 1)
