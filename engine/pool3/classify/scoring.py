"""How good predictions are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pool3.classify.result import ClassScore

Z = 1.959963984540054
"""Quantile of the normal distribution at 0.975."""


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (E. B. Wilson 1927, J. Am. Stat. Assoc. 22, 209).

    Args:
        right: successes.
        count: trials, at least 1.
    """
    share, square = right / count, Z * Z / count
    middle = (share + square / 2) / (1 + square)
    half = Z / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    # At the ends the formula gives 0 and 1 themselves, but for rounding.
    return (
        0.0 if right == 0 else max(0.0, middle - half),
        1.0 if right == count else min(1.0, middle + half),
    )


def confusion_of(truth: NDArray[np.int64], predictions: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(K, K) int64; row: the true class, column: the predicted one."""
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (truth, predictions), 1)
    return confusion


def scores(names: Sequence[str], confusion: NDArray[np.int64]) -> tuple[ClassScore, ...]:
    """One score a class."""
    found = []
    for i, name in enumerate(names):
        right, support, claimed = (
            int(n) for n in (confusion[i, i], confusion[i].sum(), confusion[:, i].sum())
        )
        precision = right / claimed if claimed else 0.0
        recall = right / support if support else 0.0
        f1 = 2 * right / (claimed + support) if claimed + support else 0.0
        found.append(ClassScore(name, precision, recall, f1, support))
    return tuple(found)
