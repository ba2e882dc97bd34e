"""Rows of a feature file that are nearly the same."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.errors import EvaluationError
from pool3.search.faiss_index import flat_index
from pool3.search.query import check_search
from pool3.search.vectors import Block, block_at, blocks, slack, squares, step
from pool3.store import FeatureFile, open_features
from pool3.watching import Report, Watch, unwatched

MOST_PAIRS = 10_000_000
"""Most pairs that are listed: 240 MB. A threshold that is far too low would fill the memory."""

_ASKED_TOGETHER = 64
"""Rows that FAISS is asked about at a time: it returns all that is near, be it every row of the file."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Duplicates:
    """Pairs of rows above a cosine, and the groups that they make.

    Attributes:
        ids: ids of all N rows.
        pairs: (P, 2) int64, the smaller row first; by the first row, then the second.
        similarities: (P,) float64, cosines.
        same_bytes: (P,) bool: both images have the same bytes, or pixels where the source holds pixels.
        groups: rows that hang together by pairs, two at least; rows ascend, groups by their first. Two rows of a
            group need not be a pair.
        threshold: the least cosine of a pair.
        backend: what ran.
        seconds: wall time.
    """

    ids: list[str]
    pairs: NDArray[np.int64]
    similarities: NDArray[np.float64]
    same_bytes: NDArray[np.bool_]
    groups: tuple[NDArray[np.int64], ...]
    threshold: float
    backend: str
    seconds: float

    @property
    def surplus(self) -> int:
        """Rows that would go if one of each group stayed."""
        return sum(len(group) - 1 for group in self.groups)

    def to_dict(self) -> dict[str, Any]:
        """All, JSON-able; rows come with their ids."""

        def named(row: int) -> dict[str, Any]:
            return {"row": row, "id": self.ids[row]}

        columns = (self.pairs.tolist(), self.similarities.tolist(), self.same_bytes.tolist())
        pairs = [
            {"a": named(a), "b": named(b), "similarity": similarity, "same_bytes": same}
            for (a, b), similarity, same in zip(*columns, strict=True)
        ]
        return {
            "rows": len(self.ids),
            "threshold": self.threshold,
            "backend": self.backend,
            "pairs": pairs,
            "groups": [[named(row) for row in group.tolist()] for group in self.groups],
            "same_bytes": int(self.same_bytes.sum()),
            "surplus": self.surplus,
            "seconds": round(self.seconds, 3),
        }


def duplicates(
    features: str | os.PathLike[str],
    threshold: float = 0.95,
    *,
    backend: str = "exact",
    watch: Watch | None = None,
) -> Duplicates:
    """Find all pairs of rows whose features have a cosine of at least a threshold, and the groups that they make.

    Args:
        features: feature file.
        threshold: above 0, at most 1.
        backend: one of `BACKENDS`; both give the same pairs.
        watch: told of the work and how far it has come.

    Raises:
        EvaluationError: an argument is not one of these, a row is not finite or all zeros, or there are more than
            `MOST_PAIRS` pairs.
        MissingLibraryError: FAISS is asked for and not installed.
        StoreError: the file is damaged or not sealed; `StoreNotFoundError` where there is none.
    """
    start = time.perf_counter()
    check_search("cosine", backend)
    if not 0 < threshold <= 1:
        raise EvaluationError(f"the threshold is a cosine above 0, at most 1; received {threshold}")
    with open_features(features) as file:
        with (watch or unwatched)("comparing", "pairs" if backend == "exact" else "rows") as report:
            candidates = _exact if backend == "exact" else _faiss
            pairs, similarities = _collected(file, candidates(file, threshold, report), threshold)
        digests = file.content_sha256
        return Duplicates(
            ids=file.ids,
            pairs=pairs,
            similarities=similarities,
            same_bytes=(digests[pairs[:, 0]] == digests[pairs[:, 1]]).all(axis=1),
            groups=groups(pairs, len(file)),
            threshold=threshold,
            backend=backend,
            seconds=time.perf_counter() - start,
        )


_Candidates = Iterator[tuple[Block, Block, NDArray[np.int64], NDArray[np.int64]]]
"""Two blocks, and pairs of places in them that may be above the threshold; each pair of rows at most once."""


def _exact(file: FeatureFile, threshold: float, report: Report) -> _Candidates:
    least = np.float32(threshold - slack(file.features.shape[1]))
    done, total = 0, len(file) * (len(file) + 1) // 2
    for one in blocks(file, "cosine"):
        for other in blocks(file, "cosine", one.start):
            near = one.units @ other.units.T >= least
            if one.start == other.start:
                near = np.triu(near, 1)
            i, j = np.nonzero(near)
            yield one, other, i, j
            done += len(one) * len(other) if one.start < other.start else len(one) * (len(one) + 1) // 2
            report(done, total)


def _faiss(file: FeatureFile, threshold: float, report: Report) -> _Candidates:
    least = float(threshold - slack(file.features.shape[1]))
    index = flat_index(file, "cosine", lambda _done, _total: None)
    size = step(file.features.shape[1])
    for one in blocks(file, "cosine"):
        places, found = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for first in range(0, len(one), _ASKED_TOGETHER):
            limits, _, near = index.range_search(one.units[first : first + _ASKED_TOGETHER], least)
            i = np.repeat(np.arange(len(limits) - 1), np.diff(limits.astype(np.int64))) + first
            later = near > i + one.start
            places.append(i[later])
            found.append(near[later])
            if sum(map(len, found)) > MOST_PAIRS:
                raise _too_many(file, threshold)
        i, rows = np.concatenate(places), np.concatenate(found)
        for number in np.unique(rows // size).tolist():
            here = rows // size == number
            yield one, block_at(file, "cosine", number * size), i[here], rows[here] - number * size
        report(one.start + len(one), len(file))


def _collected(
    file: FeatureFile, candidates: _Candidates, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Compute each candidate in float64; return the pairs (P, 2) that reach the threshold, in order, and cosines."""
    pairs, similarities, count = [np.empty((0, 2), np.int64)], [np.empty(0)], 0
    for one, other, i, j in candidates:
        if count + len(i) > MOST_PAIRS:
            raise _too_many(file, threshold)
        cosines = 1 - squares(one, other, i, j) / 2
        near = cosines >= threshold
        pairs.append(np.stack([i[near] + one.start, j[near] + other.start], axis=1))
        similarities.append(cosines[near])
        count += int(near.sum())
    found, values = np.concatenate(pairs), np.concatenate(similarities)
    order = np.lexsort((found[:, 1], found[:, 0]))
    return found[order], values[order]


def _too_many(file: FeatureFile, threshold: float) -> EvaluationError:
    return EvaluationError(
        f"{file.path} has more than {MOST_PAIRS:,} pairs of a cosine of {threshold}; raise the threshold"
    )


def groups(pairs: NDArray[np.int64], rows: int) -> tuple[NDArray[np.int64], ...]:
    """The connected components of two rows and more, by their first row; rows ascend."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not len(pairs):
        return ()
    links = coo_matrix((np.ones(len(pairs), np.bool_), (pairs[:, 0], pairs[:, 1])), shape=(rows, rows))
    _, component = connected_components(links, directed=False)
    members = np.unique(pairs)
    members = members[np.argsort(component[members], kind="stable")]
    bounds = np.flatnonzero(np.diff(component[members])) + 1
    return tuple(sorted(np.split(members, bounds), key=lambda group: int(group[0])))
