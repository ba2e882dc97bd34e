"""What is committed at a time: a contiguous range of the source, with every index accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pool3.errors import StoreError
from pool3.store.schema import storable


@dataclass(frozen=True, slots=True)
class Failure:
    """One image that became no row.

    Attributes:
        index: position in the source.
        id: the image's id.
        stage: where it failed: ``open``, ``decode``, …
        error: class name of the exception.
        message: what went wrong.
    """

    index: int
    id: str
    stage: str
    error: str
    message: str

    def storable(self) -> Failure:
        """The same with its free text as HDF5 can hold it: a strange message must not stop a run."""
        return Failure(
            int(self.index), self.id, storable(self.stage), storable(self.error), storable(self.message)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """One contiguous index range [start, stop) of the source, fully accounted for; n rows of D numbers.

    Attributes:
        start: first index.
        stop: index after the last.
        source_index: (n,) int64, ascending.
        ids: n ids: UTF-8 without NUL characters.
        labels: (n,) int32 indices into the label names, -1: none.
        content_sha256: (n, 32) uint8.
        features: (n, D) float32.
        failures: the other ``stop - start - n`` indices, ascending.
    """

    start: int
    stop: int
    source_index: NDArray[np.int64]
    ids: Sequence[str]
    labels: NDArray[np.int32]
    content_sha256: NDArray[np.uint8]
    features: NDArray[np.float32]
    failures: Sequence[Failure]


def check_rows(rows: Rows, *, width: int, classes: int) -> None:
    """Raise `StoreError` unless `rows` accounts for each index of its range exactly once, in the right types.

    Args:
        rows: what is to be committed.
        width: D of the file.
        classes: count of label names.
    """
    where = f"rows {rows.start} to {rows.stop}"
    count = len(rows.source_index)
    expected: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
        "source_index": ((count,), np.int64),
        "labels": ((count,), np.int32),
        "content_sha256": ((count, 32), np.uint8),
        "features": ((count, width), np.float32),
    }
    for name, (shape, dtype) in expected.items():
        array = getattr(rows, name)
        if array.shape != shape or array.dtype != dtype:
            raise StoreError(
                f"{where}: {name} must be {shape} {np.dtype(dtype)}; received {array.shape} {array.dtype}"
            )
    if len(rows.ids) != count:
        raise StoreError(f"{where}: {count} rows need as many ids; received {len(rows.ids)}")
    failed = np.fromiter((failure.index for failure in rows.failures), np.int64, len(rows.failures))
    for name, index in (("source_index", rows.source_index), ("failures", failed)):
        if np.any(np.diff(index) <= 0):
            raise StoreError(f"{where}: the indices in {name} must ascend")
    covered = np.sort(np.concatenate([rows.source_index, failed]))
    if not np.array_equal(covered, np.arange(rows.start, rows.stop)):
        raise StoreError(
            f"{where}: {count} rows and {len(failed)} failures do not account for each of the "
            f"{rows.stop - rows.start} indices exactly once"
        )
    ids = [*rows.ids, *(failure.id for failure in rows.failures)]
    together = "".join(ids)
    if storable(together) != together:
        first = next(id_ for id_ in ids if storable(id_) != id_)
        raise StoreError(
            f"{where}: the id {first!a} cannot be stored: ids are UTF-8 without NUL, so escape it"
        )
    wrong = rows.labels[(rows.labels < -1) | (rows.labels >= classes)]
    if len(wrong):
        raise StoreError(f"{where}: labels lie between -1 and the {classes} label names; received {wrong[0]}")
