"""Rows of a feature file made ready for products: as float64, and as unit vectors in float32.

Products of unit vectors are taken in float32, twice as quick as in float64, and only to rule out what cannot be a
result: `slack` bounds their error, and whatever is left is computed in float64, pair by pair. So results do not
depend on blocks or threads, nor on the library that multiplies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pool3.errors import EvaluationError
from pool3.metrics.blocks import block as finite_rows
from pool3.store.table import Table

METRICS = ("cosine", "euclidean")
"""Distances: 1 - the cosine of the angle, or the length of the difference."""

BLOCK_ROWS = 2048
"""Most rows of a block: products of two are large enough for full speed, and small beside the features."""

BLOCK_BYTES = 64 << 20
"""Most bytes of a block in float64, for features that are wide."""

_PAIR_BYTES = 32 << 20
"""Bytes of differences that are held at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Consecutive rows.

    Attributes:
        start: number of the first row.
        rows: (n, D) float64; of length 1 where the metric is the cosine.
        norms: (n,) float64, the lengths of `rows`.
        units: (n, D) float32, the rows at length 1; zeros where a row is all zeros.
    """

    start: int
    rows: NDArray[np.float64]
    norms: NDArray[np.float64]
    units: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)


def blocks(table: Table, metric: str, first: int = 0) -> Iterator[Block]:
    """Yield a file's blocks from the one that begins at `first` on, at the multiples of `step`.

    Raises:
        EvaluationError: a number is not finite, or a row is all zeros where its direction is asked for.
        StoreError: the file is damaged.
    """
    size = step(table.features.shape[1])
    for start in range(first, len(table), size):
        yield block_at(table, metric, start)


def step(width: int) -> int:
    """Rows of a block of features of `width` numbers."""
    return max(1, min(BLOCK_ROWS, BLOCK_BYTES // (8 * width)))


def block_at(table: Table, metric: str, start: int) -> Block:
    """Read the block that begins at row `start`; errors as of `blocks`."""
    rows = finite_rows(table, slice(start, min(start + step(table.features.shape[1]), len(table))))
    norms = np.sqrt((rows * rows).sum(axis=1))
    zero = np.flatnonzero(norms == 0)
    if metric == "cosine" and len(zero):
        raise EvaluationError(
            f"{table.path} has only zeros in row {start + zero[0]} ({table.ids[start + zero[0]]}), "
            "so that it has no direction and no cosine; use the Euclidean distance"
        )
    scaled = rows / np.where(norms == 0, 1, norms)[:, None]
    if metric == "cosine":
        rows, norms = scaled, np.ones(len(rows))
    return Block(start, rows, norms, scaled.astype(np.float32))


def slack(width: int) -> float:
    """How far a float32 product of two unit vectors may be from the exact one, in whatever order it is summed.

    The bound on an inner product of D terms, D u / (1 - D u) with u = 2⁻²⁴ (Higham, "Accuracy and Stability of
    Numerical Algorithms", 3.5), with two more u for rounding the vectors, and twice all that, for the float64
    arithmetic around it.
    """
    errors = (width + 2) * 2.0**-24
    return 2 * errors / (1 - errors)


def squares(one: Block, other: Block, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
    """Squared Euclidean distance of rows i of `one` and j of `other`, pair by pair, (p,) float64.

    From the difference itself, which is exactly 0 for equal rows, and the same whatever else is in a block.
    """
    found = np.empty(len(i))
    size = max(1, _PAIR_BYTES // (8 * one.rows.shape[1]))
    for start in range(0, len(i), size):
        some = slice(start, start + size)
        apart = one.rows[i[some]] - other.rows[j[some]]
        found[some] = (apart * apart).sum(axis=1)
    return found


def as_distance(squared: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    """Squared Euclidean distance → distance; of unit vectors, its half is 1 - their cosine."""
    distances: NDArray[np.float64] = squared / 2 if metric == "cosine" else np.sqrt(squared)
    return distances
