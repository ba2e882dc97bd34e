"""Rows of a feature file as float64, block by block, and checked to be finite."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pool3.errors import EvaluationError
from pool3.store.table import Table

BLOCK_BYTES = 64 << 20
"""Bytes of a block in float64: large enough for a matrix product to run at full speed."""


def spans(table: Table) -> Iterator[slice]:
    """Yield slices of consecutive rows, each of about `BLOCK_BYTES`, and of one row at least."""
    return table.spans(BLOCK_BYTES * table.features.dtype.itemsize // 8)


def block(table: Table, rows: slice | NDArray[np.int64]) -> NDArray[np.float64]:
    """Read some rows, (n, D).

    Raises:
        EvaluationError: one of them has a number that is not finite.
        StoreError: the file is damaged there.
    """
    found: NDArray[np.float64] = table.features[rows].astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        row = bad[0] + rows.start if isinstance(rows, slice) else rows[bad[0]]
        raise EvaluationError(
            f"{table.path} holds features that are no finite numbers, in row {row} ({table.ids[row]}) first; "
            "extract them again"
        )
    return found
