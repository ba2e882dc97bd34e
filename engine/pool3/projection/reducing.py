"""Principal components of features, also of more than fit into memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.metrics.blocks import block
from pool3.store.table import Table
from pool3.watching import Report

IN_MEMORY = 2 << 30
"""Bytes of features in float32 up to which they are read as a whole."""

_ROWS = 4096
"""Of a step of the incremental PCA, so that it meets far more rows at a time than it keeps components."""


def fits(table: Table) -> bool:
    """Whether a table's features are read as a whole."""
    rows, width = table.features.shape
    return rows * width * 4 <= IN_MEMORY


def read(table: Table) -> NDArray[np.float32]:
    """All features, (n, D) float32, checked to be finite.

    Raises:
        EvaluationError: one is not.
        StoreError: the file is damaged.
    """
    whole = np.empty(table.features.shape, np.float32)
    for rows in _spans(table):
        whole[rows] = block(table, rows)
    return whole


def reduce(
    table: Table, whole: NDArray[np.float32] | None, components: int, seed: int, report: Report
) -> tuple[NDArray[Any], float]:
    """Reduce features to their first principal components.

    In memory by randomized SVD where that is quickest (N. Halko et al. 2011, SIAM Rev. 53, 217), seeded; else
    by incremental PCA (D. Ross et al. 2008, Int. J. Comput. Vis. 77, 125), which reads the file twice, in order.

    Args:
        table: n rows of D numbers.
        whole: from `read`, or None: in blocks from the file.
        components: to keep.
        seed: of the randomized SVD.
        report: told of rows.

    Returns:
        (n, components), and the share of the variance that they keep.
    """
    from sklearn.decomposition import PCA, IncrementalPCA

    if whole is not None:
        exact = PCA(components, random_state=seed)
        with np.errstate(invalid="ignore"):  # rows that are all equal have no variance to share
            return exact.fit_transform(whole), float(exact.explained_variance_ratio_.sum())
    model = IncrementalPCA(components)
    blocks = list(_spans(table))
    total = 2 * len(table)
    for rows in blocks:
        model.partial_fit(block(table, rows))
        report(rows.stop, total)
    reduced = np.empty((len(table), components), np.float64)
    for rows in blocks:
        reduced[rows] = model.transform(block(table, rows))
        report(len(table) + rows.stop, total)
    return reduced, float(model.explained_variance_ratio_.sum())


def _spans(table: Table) -> list[slice]:
    """Slices of `_ROWS` rows; the last takes what is left over, since a step needs more rows than components."""
    starts = [*range(0, max(1, len(table) - _ROWS + 1), _ROWS)]
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(table)], strict=True)]
