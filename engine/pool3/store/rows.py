"""What is committed at a time: a contiguous range of the source, with every index accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
        features: (n, D), float32 or float16 as the file stores them.
        failures: the other ``stop - start - n`` indices, ascending.
    """

    start: int
    stop: int
    source_index: NDArray[np.int64]
    ids: Sequence[str]
    labels: NDArray[np.int32]
    content_sha256: NDArray[np.uint8]
    features: NDArray[Any]
    failures: Sequence[Failure]

    def amended(self, patch: Rows) -> Rows:
        """Give the same range with some of its failures tried again.

        Args:
            patch: the indices that were tried again, and no others, as rows or failures; of the same range.

        Returns:
            The whole range, its rows and failures in order.

        Raises:
            StoreError: the patch holds an index that was no failure.
        """
        again = {int(index) for index in patch.source_index} | {failure.index for failure in patch.failures}
        if strangers := again - {failure.index for failure in self.failures}:
            raise StoreError(f"image {min(strangers)} did not fail, so it cannot be tried again")
        source_index = np.concatenate([self.source_index, patch.source_index])
        order = np.argsort(source_index)
        ids = [*self.ids, *patch.ids]
        kept = [failure for failure in self.failures if failure.index not in again]
        return Rows(
            start=self.start,
            stop=self.stop,
            source_index=source_index[order],
            ids=[ids[row] for row in order],
            labels=np.concatenate([self.labels, patch.labels])[order],
            content_sha256=np.concatenate([self.content_sha256, patch.content_sha256])[order],
            features=np.concatenate([self.features, patch.features])[order],
            failures=sorted([*kept, *patch.failures], key=lambda failure: failure.index),
        )


def as_stored(features: NDArray[np.float32], ids: Sequence[str], storage: str) -> NDArray[Any]:
    """Round features to the dtype of the file; float16 keeps 11 bits of the mantissa and values up to 65,504.

    Args:
        features: (n, D) float32.
        ids: n ids, for the error.
        storage: ``float32`` or ``float16``.

    Raises:
        StoreError: a value is too large for float16.
    """
    with np.errstate(over="ignore"):
        stored = features.astype(storage, copy=False)
    lost = np.flatnonzero((np.isinf(stored) & np.isfinite(features)).any(axis=1))
    if len(lost):
        largest = np.abs(features[lost[0]]).max()
        raise StoreError(
            f"a feature of {ids[lost[0]]} is {largest:.6g}, and {storage} ends at {np.finfo(storage).max:,.0f}; "
            "store this feature as float32"
        )
    return stored


def check_rows(rows: Rows, *, width: int, dtype: str, classes: int) -> None:
    """Raise `StoreError` unless `rows` accounts for each index of its range exactly once, in the right types.

    Args:
        rows: what is to be committed.
        width: D of the file.
        dtype: of the file's features.
        classes: count of label names.
    """
    where = f"rows {rows.start} to {rows.stop}"
    count = len(rows.source_index)
    expected = {
        "source_index": ((count,), "int64"),
        "labels": ((count,), "int32"),
        "content_sha256": ((count, 32), "uint8"),
        "features": ((count, width), dtype),
    }
    for name, (shape, kind) in expected.items():
        array = getattr(rows, name)
        if array.shape != shape or array.dtype != kind:
            raise StoreError(f"{where}: {name} must be {shape} {kind}; received {array.shape} {array.dtype}")
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
