"""The same by FAISS, where asked for: its flat index, which compares all with all."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.errors import MissingLibraryError
from pool3.search.vectors import Block, blocks
from pool3.store.table import Table
from pool3.watching import Report

MARGIN = 16
"""Rows asked for beyond k: FAISS ranks in float32, and those whose order it may have wrong are ranked again."""


def faiss() -> Any:
    """Import FAISS.

    Raises:
        MissingLibraryError: it is not installed.
    """
    try:
        return import_module("faiss")
    except ImportError as error:
        raise MissingLibraryError(
            f"FAISS cannot be imported ({error}); install it by pip install 'pool3[faiss]', or leave out "
            "--backend faiss"
        ) from error


def flat_index(table: Table, metric: str, report: Report) -> Any:
    """An index of all rows, held in memory as float32: unit vectors for the cosine."""
    library, width = faiss(), table.features.shape[1]
    index = library.IndexFlatIP(width) if metric == "cosine" else library.IndexFlatL2(width)
    for block in blocks(table, metric):
        index.add(_vectors(block))
        report(block.start + len(block), len(table))
    return index


def nearest(
    queries: Table, base: Table, k: int, metric: str, *, without_self: bool, report: Report
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """As `pool3.search.exact.nearest`, but for float32's rounding of unit vectors, and for ties at the end of a list.

    Cosine distances are within 1e-7. FAISS ranks `MARGIN` rows more than asked for, and they are ranked again in
    float64; where more rows than that are equally far, it chooses among them.
    """
    with_margin = min(len(base), k + MARGIN)
    index = flat_index(base, metric, lambda _done, _total: None)
    rows = np.empty((len(queries), k), np.int64)
    distances = np.empty((len(queries), k))
    for block in blocks(queries, metric):
        vectors = _vectors(block)
        _, found = index.search(vectors, with_margin)
        for i, candidates in enumerate(found):
            near = np.sort(candidates[candidates >= 0])
            if without_self:
                near = near[near != block.start + i]
            apart = vectors[i].astype(np.float64) - index.reconstruct_batch(near)
            squared = (apart * apart).sum(axis=1)
            order = np.argsort(squared, kind="stable")[:k]
            rows[block.start + i], distances[block.start + i] = near[order], squared[order]
        report(block.start + len(block), len(queries))
    return rows, distances


def _vectors(block: Block) -> NDArray[np.float32]:
    """What FAISS compares: float32, unit vectors for the cosine."""
    return np.ascontiguousarray(block.rows, np.float32)
