"""The nearest rows of one feature file to each row of another."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.comparable import check_comparable
from pool3.errors import EvaluationError
from pool3.search import exact, faiss_index
from pool3.search.vectors import METRICS, as_distance
from pool3.store import open_features
from pool3.watching import Watch, unwatched

BACKENDS = ("exact", "faiss")
"""Implementations: pool3's own, or FAISS' flat index."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Neighbours:
    """The k nearest rows to each of Q queries.

    Attributes:
        query_ids: Q ids.
        ids: ids of the N rows that were searched.
        rows: (Q, k) int64 rows of the searched file, the nearest first; at equal distances the smaller number.
        distances: (Q, k) float64.
        metric: ``cosine`` (1 - the cosine) or ``euclidean``.
        backend: what ran.
        forced: whether the files were compared although they are of different kinds.
        differences: what they differ in then.
        seconds: wall time.
    """

    query_ids: list[str]
    ids: list[str]
    rows: NDArray[np.int64]
    distances: NDArray[np.float64]
    metric: str
    backend: str
    forced: bool
    differences: tuple[str, ...]
    seconds: float

    def found(self, query: int) -> list[dict[str, Any]]:
        """The neighbours of one query, nearest first: ``row``, ``id`` and ``distance`` of each."""
        pairs = zip(self.rows[query].tolist(), self.distances[query].tolist(), strict=True)
        return [{"row": row, "id": self.ids[row], "distance": distance} for row, distance in pairs]

    def to_dict(self) -> dict[str, Any]:
        """All, JSON-able: ``queries`` holds an ``id`` and its ``neighbours`` each."""
        queries = [{"id": id_, "neighbours": self.found(i)} for i, id_ in enumerate(self.query_ids)]
        return {
            "metric": self.metric,
            "backend": self.backend,
            "k": self.rows.shape[1],
            "rows": len(self.ids),
            "queries": queries,
            "forced": self.forced,
            "differences": list(self.differences),
            "seconds": round(self.seconds, 3),
        }


def neighbours(
    queries: str | os.PathLike[str],
    features: str | os.PathLike[str],
    k: int = 10,
    *,
    metric: str = "cosine",
    backend: str = "exact",
    without_self: bool = False,
    force: bool = False,
    watch: Watch | None = None,
) -> Neighbours:
    """Find the k rows of a feature file that are nearest to each row of another; every row is compared.

    Args:
        queries: feature file.
        features: feature file to search.
        k: at least 1.
        metric: one of `METRICS`.
        backend: one of `BACKENDS`. ``exact`` reads the searched file once for each few thousand queries, in bounded
            memory; ``faiss`` holds it in memory, 4 D bytes a row.
        without_self: where both are the same file: leave out each row itself.
        force: compare files whose provenance differs; written into the result.
        watch: told of the work and how far it has come.

    Raises:
        EvaluationError: an argument is not one of these, the features are of different kinds or not finite, or there
            are fewer than k rows.
        MissingLibraryError: FAISS is asked for and not installed.
        StoreError: a file is damaged or not sealed; `StoreNotFoundError` where there is none.
    """
    start = time.perf_counter()
    check_search(metric, backend)
    if k < 1:
        raise EvaluationError(f"neighbours are counted from 1; received k = {k}")
    with open_features(queries) as one, open_features(features) as base:
        differing = check_comparable(one, base, force=force)
        if without_self and one.fingerprint != base.fingerprint:
            raise EvaluationError(
                f"{one.path} and {base.path} are not the same file, so no row is its own neighbour; "
                "leave out --without-self"
            )
        others = len(base) - without_self
        if others < k:
            raise EvaluationError(f"{base.path} has {others} rows to find, fewer than {k}; give a smaller -k")
        search = exact.nearest if backend == "exact" else faiss_index.nearest
        with (watch or unwatched)("searching", "pairs" if backend == "exact" else "queries") as report:
            rows, squares = search(one, base, k, metric, without_self=without_self, report=report)
        return Neighbours(
            query_ids=one.ids,
            ids=base.ids,
            rows=rows,
            distances=as_distance(squares, metric),
            metric=metric,
            backend=backend,
            forced=bool(differing),
            differences=tuple(differing),
            seconds=time.perf_counter() - start,
        )


def check_search(metric: str, backend: str) -> None:
    """Check the two settings, and that FAISS is there if it is asked for.

    Raises:
        EvaluationError: one is unknown.
        MissingLibraryError: FAISS is not installed.
    """
    if metric not in METRICS:
        raise EvaluationError(f"unknown metric {metric!r}; choose one of {', '.join(METRICS)}")
    if backend not in BACKENDS:
        raise EvaluationError(f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    if backend == "faiss":
        faiss_index.faiss()
