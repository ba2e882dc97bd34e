"""The k nearest rows by blocked products: exact, with bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pool3.search.vectors import Block, blocks, slack, squares
from pool3.store.table import Table
from pool3.watching import Report


def nearest(
    queries: Table, base: Table, k: int, metric: str, *, without_self: bool, report: Report
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k rows of `base` nearest to each row of `queries`, by distance, then by row number.

    Args:
        queries: Q rows.
        base: at least k rows, k + 1 where `without_self`.
        k: at least 1.
        metric: one of `METRICS`.
        without_self: leave out the row of the query's own number.
        report: told of pairs compared.

    Returns:
        Rows of `base` (Q, k), and their squared Euclidean distances (Q, k), of unit vectors for the cosine.
    """
    rows = np.empty((len(queries), k), np.int64)
    distances = np.empty((len(queries), k))
    done, pairs = 0, len(queries) * len(base)
    for query in blocks(queries, metric):
        best = _Best.none(len(query), k)
        for block in blocks(base, metric):
            _search(query, block, best, without_self)
            done += len(query) * len(block)
            report(done, pairs)
        here = slice(query.start, query.start + len(query))
        rows[here], distances[here] = best.rows, best.distances
    return rows, distances


@dataclass(slots=True)
class _Best:
    """The nearest so far: rows (q, k) and squared distances (q, k), both in order; infinity where there is none."""

    rows: NDArray[np.int64]
    distances: NDArray[np.float64]

    @classmethod
    def none(cls, queries: int, k: int) -> _Best:
        return cls(np.full((queries, k), -1, np.int64), np.full((queries, k), np.inf))

    def add(self, query: NDArray[np.int64], rows: NDArray[np.int64], distances: NDArray[np.float64]) -> None:
        """Take in pairs of a query and a row, (p,) each."""
        k = self.rows.shape[1]
        touched = np.unique(query)
        all_queries = np.concatenate([np.repeat(touched, k), query])
        all_rows = np.concatenate([self.rows[touched].ravel(), rows])
        all_distances = np.concatenate([self.distances[touched].ravel(), distances])
        order = np.lexsort((all_rows, all_distances, all_queries))
        kept = order[np.searchsorted(all_queries[order], touched)[:, None] + np.arange(k)]
        self.rows[touched], self.distances[touched] = all_rows[kept], all_distances[kept]


def _search(query: Block, block: Block, best: _Best, without_self: bool) -> None:
    """Look through one block for rows nearer than the best so far."""
    k = best.rows.shape[1]
    error = slack(query.rows.shape[1])
    lengths = query.norms[:, None] ** 2 + block.norms**2
    products = np.multiply.outer(query.norms, block.norms)
    # The least that each squared distance can be; the last term covers what float64 rounds off.
    least = (query.units @ block.units.T).astype(np.float64)
    least += error
    least *= -2 * products
    least += lengths * (1 - 1e-12)
    if without_self:
        own = np.arange(len(query)) + query.start - block.start
        inside = np.flatnonzero((own >= 0) & (own < len(block)))
        least[inside, own[inside]] = np.inf
    # A row further on has a larger number, so at the same distance it comes after those that are there.
    limit = np.where(best.distances[:, -1] == 0, -np.inf, best.distances[:, -1])
    found = (least <= limit[:, None]) & (least < np.inf)
    many = np.flatnonzero(found.sum(axis=1) > k)
    if len(many):
        # The k-th of this block is no further than the k-th least distance, and what that may be too small by.
        most = np.partition(least[many], k - 1, axis=1)[:, k - 1]
        most += 4 * error * products[many].max(axis=1) + 2e-12 * lengths[many].max(axis=1)
        found[many] &= least[many] <= most[:, None]
    i, j = np.nonzero(found)
    if len(i):
        best.add(i, j + block.start, squares(query, block, i, j))
