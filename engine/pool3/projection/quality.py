"""How well a map keeps neighbourhoods, in memory that does not grow with the square of its rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pool3.metrics.blocks import block, spans
from pool3.store.table import Table
from pool3.watching import Report

SAMPLE = 2_000
"""Rows that are asked for their neighbours, unless told; all rows are candidates for being one."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a map keeps neighbourhoods.

    Attributes:
        trustworthiness: 0 to 1; how far the neighbours on the map are neighbours in the features.
        knn_preservation: 0 to 1; share of the k nearest in the features that are among the k nearest on the map.
        k: neighbours.
        rows: that were asked.
    """

    trustworthiness: float
    knn_preservation: float
    k: int
    rows: int


def measure(
    table: Table, places: NDArray[np.float64], *, k: int, sample: int, seed: int, report: Report
) -> Quality:
    """Compare neighbours on the map with neighbours in the features, Euclidean, before any reduction.

    With r(i, j) the rank of j among the neighbours of i in the features (1: the nearest; equal distances share the
    best rank), N(i) the k nearest of i on the map, and m of n rows asked:

    - trustworthiness (J. Venna, S. Kaski 2001, Proc. ICANN, 485): 1 − c Σ_i Σ_{j ∈ N(i)} max(0, r(i, j) − k), with
      c = 2 / (m k (2n − 3k − 1)), so that 0 is the worst map of all; scikit-learn's, where m = n.
    - kNN preservation (J. A. Lee, M. Verleysen 2009, Neurocomputing 72, 1431, there Q_NX(k)): the mean share of
      j ∈ N(i) with r(i, j) ≤ k.

    Memory: m × k ranks and a block of features times m; the features are read twice.

    Args:
        table: n rows of features.
        places: (n, 2) their places.
        k: neighbours; lowered to below n / 2, which the first formula needs.
        sample: m, evenly drawn; n at most.
        seed: of that draw.
        report: told of rows.
    """
    from sklearn.neighbors import NearestNeighbors

    count = len(table)
    k = max(1, min(k, (count - 1) // 2))
    asked = np.sort(np.random.default_rng(seed).choice(count, min(sample, count), replace=False))
    found = NearestNeighbors(n_neighbors=k + 1).fit(places).kneighbors(places[asked], return_distance=False)
    near = np.stack([_others(row, i, k) for row, i in zip(found, asked.tolist(), strict=True)])
    # Distances do not change when all features are moved, and lose least when their mean is at zero.
    mean = np.mean([block(table, rows).mean(axis=0) for rows in spans(table)], axis=0)
    queries = block(table, asked) - mean
    norms = (queries**2).sum(axis=1)
    reach = np.empty((len(asked), k))
    ranks = np.ones((len(asked), k), np.int64)
    total = 2 * count

    def distances(rows: slice) -> NDArray[np.float64]:
        candidates = block(table, rows) - mean
        squares: NDArray[np.float64] = (
            norms[:, None] + (candidates**2).sum(axis=1) - 2 * queries @ candidates.T
        )
        inside = np.flatnonzero((asked >= rows.start) & (asked < rows.stop))
        squares[inside, asked[inside] - rows.start] = np.inf  # nothing is its own neighbour
        return squares

    for rows in spans(table):
        here = (near >= rows.start) & (near < rows.stop)
        query, place = np.nonzero(here)
        reach[query, place] = distances(rows)[query, near[query, place] - rows.start]
        report(rows.stop, total)
    for rows in spans(table):
        ordered = np.sort(distances(rows), axis=1)
        for i, line in enumerate(ordered):
            ranks[i] += np.searchsorted(line, reach[i])
        report(count + rows.stop, total)
    excess = float(np.maximum(0, ranks - k).sum())
    return Quality(
        trustworthiness=1 - excess * 2 / (len(asked) * k * (2 * count - 3 * k - 1)),
        knn_preservation=float((ranks <= k).mean()),
        k=k,
        rows=len(asked),
    )


def _others(found: NDArray[np.int64], itself: int, k: int) -> NDArray[np.int64]:
    """The k nearest without the row itself, which need not be the first where several lie on one place."""
    others: NDArray[np.int64] = found[found != itself][:k]
    return others
