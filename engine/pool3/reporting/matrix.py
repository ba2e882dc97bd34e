"""The confusion matrix as a table of shades."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVELS = 10
"""Shades, without the empty one; ``report.css`` has one rule for each."""

DENSE = 24
"""Classes above which the table is drawn small."""

MOST_CLASSES = 120
"""Classes that a table shows; of more, those with the most mistakes."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A count, its share of the true class's rows, and its shade: 0 to `LEVELS`."""

    count: int
    share: float
    level: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """A confusion matrix, to be drawn.

    Attributes:
        names: the K classes that are shown.
        rows: K × K cells; row: the true class, column: the predicted one.
        dense: whether there are so many that cells are small.
        left_out: classes that are not shown.
    """

    names: list[str]
    rows: list[list[Cell]]
    dense: bool
    left_out: int


def drawn(names: Sequence[str], counts: NDArray[np.int64]) -> Matrix:
    """Choose the classes and the shades.

    A shade stands for the square root of the share of the true class's rows, rounded up, so that a rare confusion is
    seen beside the diagonal.

    Args:
        names: K classes.
        counts: (K, K).
    """
    chosen = list(range(len(names)))
    if len(names) > MOST_CLASSES:
        wrong = counts - np.diag(np.diag(counts))
        order = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")
        chosen = sorted(order[:MOST_CLASSES].tolist())
    support = counts.sum(axis=1)
    rows = [[_cell(int(counts[i, j]), int(support[i])) for j in chosen] for i in chosen]
    left_out = len(names) - len(chosen)
    return Matrix([names[i] for i in chosen], rows, len(chosen) > DENSE, left_out)


def _cell(count: int, support: int) -> Cell:
    share = count / support if support else 0.0
    return Cell(count, share, math.ceil(round(LEVELS * math.sqrt(share), 9)))
