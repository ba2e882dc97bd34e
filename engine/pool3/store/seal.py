"""Sealing: the ranges of a source become one HDF5 file, one range in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from pool3.errors import StoreError
from pool3.store.digests import FINGERPRINT, Digests, fingerprint
from pool3.store.disk import sync_file, sync_folder
from pool3.store.environments import Environments, clipped, joined
from pool3.store.hdf5 import new_hdf5
from pool3.store.manifest import Manifest
from pool3.store.reader import FeatureFile
from pool3.store.rows import Failure, Rows
from pool3.store.schema import FAILURE_FIELDS, SCHEMA, TIMING, chunk_rows
from pool3.store.timing import Timing

PARTIAL = ".partial"
"""Suffix of the output while it is being sealed."""

_BUFFER_CHUNKS = 8
"""Chunks of about 1 MiB that are gathered before they are written."""

_COLUMN_CHUNK_BYTES = 1 << 18
"""Chunks of the narrow datasets: a quarter of HDF5's default chunk cache, so that a chunk stays there until full."""

_TEXT = h5py.string_dtype()
_FAILURE = np.dtype([(FAILURE_FIELDS[0], np.int64), *((name, _TEXT) for name in FAILURE_FIELDS[1:])])


class Part(NamedTuple):
    """A range of the source that goes into a file.

    Attributes:
        rows: count of rows.
        failures: count of failures.
        environments: what computed which of its indices.
        read: gives all of it; called once, in order.
    """

    rows: int
    failures: int
    environments: Environments
    read: Callable[[], Rows]


def parts_of(file: FeatureFile, ranges: Iterable[tuple[int, int]]) -> Iterator[Part]:
    """Yield ranges of a sealed file's source, to go into another file."""
    for limits in ranges:
        rows, failures = file.counts(*limits)
        yield Part(rows, failures, clipped(file.environments, *limits), partial(file.rows, *limits))


def write_sealed(
    path: Path,
    manifest: Manifest,
    parts: Sequence[Part],
    *,
    merged: Sequence[Mapping[str, Any]] = (),
    timing: Callable[[], Timing] = Timing,
    features: h5py.VirtualLayout | None = None,
) -> None:
    """Write the sealed file beside `path`, flush it to the disk, and rename it to `path`.

    Args:
        path: the output.
        manifest: what it is to be.
        parts: of all the source, ascending; one at a time is in memory.
        merged: what ``/parts`` says of the files that are joined, JSON-able.
        timing: says what all of it took; asked when the datasets are written.
        features: where they lie already; None: they are copied.

    Raises:
        StoreError: a part is damaged, or they do not account for every input; nothing is written then.
        OSError: the file cannot be written.
    """
    rows, failures = sum(part.rows for part in parts), sum(part.failures for part in parts)
    if rows + failures != manifest.inputs:
        raise StoreError(
            f"{path} cannot be sealed: {manifest.inputs} inputs, but {rows} rows and {failures} failures; "
            "run again to compute the rest"
        )
    aside = path.with_name(path.name + PARTIAL)
    try:
        with new_hdf5(aside) as file:
            sealer = _Sealer(file, manifest, rows, failures, features)
            digests = sealer.copy(parts, merged)
            attributes: dict[str, Any] = {
                "schema": SCHEMA,
                **manifest.provenance.to_attributes(),
                "inputs": manifest.inputs,
                "rows": rows,
                "failures": failures,
                "digests": json.dumps(digests, sort_keys=True),
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "run": manifest.run,
                "sealed": True,
            }
            if took := timing():
                attributes[TIMING] = json.dumps(took.to_dict())
            attributes[FINGERPRINT] = fingerprint(attributes)
            for name, value in attributes.items():
                file.attrs[name] = value
        sync_file(aside)
        aside.replace(path)
        sync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


class _Sealer:
    """The datasets of a file that is being sealed, and how far they are filled.

    It holds all of them open: see `new_hdf5`.
    """

    def __init__(
        self,
        file: h5py.File,
        manifest: Manifest,
        rows: int,
        failures: int,
        layout: h5py.VirtualLayout | None,
    ) -> None:
        width, chunk = manifest.width, chunk_rows(manifest.row_bytes)
        storage = np.dtype(manifest.provenance.storage)
        self._features = None if layout else _fixed(file, "features", (rows, width), storage, chunk)
        if layout:
            file.create_virtual_dataset("features", layout)
        self._columns = {
            name: _fixed(file, name, (rows, *tail), dtype, _COLUMN_CHUNK_BYTES // row_bytes)
            for name, tail, dtype, row_bytes in (
                ("labels", (), np.int32, 4),
                ("source_index", (), np.int64, 8),
                ("content_sha256", (32,), np.uint8, 32),
            )
        }
        self._ids = file.create_dataset("ids", (rows,), _TEXT, track_times=False)
        self._file = file
        self._short: dict[str, h5py.Dataset] = {}
        self._digests = Digests()
        self._texts("label_names", manifest.label_names)
        self._failures = file.create_dataset("failures", (failures,), _FAILURE, track_times=False)
        self._buffer = np.empty((chunk * _BUFFER_CHUNKS, width), storage)  # untouched, it costs nothing
        self._buffered = self._written = self._rows = self._failed = 0

    def copy(self, parts: Sequence[Part], merged: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Copy all parts; return the digests of the datasets."""
        for part in parts:
            rows = part.read()
            if (len(rows.source_index), len(rows.failures)) != (part.rows, part.failures):
                raise StoreError(
                    f"images {rows.start} to {rows.stop} changed while they were read; run again"
                )
            self._copy_columns(rows)
            self._copy_failures(rows.failures)
            self._copy_features(rows.features)
        self._flush()
        for name, entries in (
            ("environments", joined(part.environments for part in parts)),
            ("parts", merged),
        ):
            self._texts(name, [json.dumps(entry, ensure_ascii=False, sort_keys=True) for entry in entries])
        return self._digests.to_dict()

    def _texts(self, name: str, texts: Sequence[str]) -> None:
        """Write a short dataset of texts whole. (An attribute of HDF5 ends at 64 KiB.)"""
        self._digests.texts(name, texts)
        self._short[name] = self._file.create_dataset(
            name, (len(texts),), _TEXT, data=np.asarray(texts, dtype=object), track_times=False
        )

    def _copy_columns(self, rows: Rows) -> None:
        if not rows.ids:
            return
        here = slice(self._rows, self._rows + len(rows.ids))
        for name, dataset in self._columns.items():
            dataset[here] = getattr(rows, name)
            self._digests.numbers(name, getattr(rows, name))
        self._ids[here] = rows.ids
        self._digests.texts("ids", rows.ids)
        self._rows = here.stop

    def _copy_failures(self, failures: Sequence[Failure]) -> None:
        if not failures:
            return
        values = [tuple(getattr(failure, name) for name in FAILURE_FIELDS) for failure in failures]
        self._failures[self._failed : self._failed + len(values)] = np.array(values, _FAILURE)
        self._digests.failures(failures)
        self._failed += len(values)

    def _copy_features(self, features: NDArray[Any]) -> None:
        self._digests.numbers("features", features)
        done = 0
        while self._features is not None and done < len(features):
            count = min(len(features) - done, len(self._buffer) - self._buffered)
            self._buffer[self._buffered : self._buffered + count] = features[done : done + count]
            self._buffered += count
            done += count
            if self._buffered == len(self._buffer):
                self._flush()

    def _flush(self) -> None:
        """Write the buffer: whole chunks, but for the last ones of the file."""
        if self._features is not None and self._buffered:
            end = self._written + self._buffered
            self._features[self._written : end] = self._buffer[: self._buffered]
            self._written, self._buffered = end, 0


def _fixed(file: h5py.File, name: str, shape: tuple[int, ...], dtype: Any, rows: int) -> h5py.Dataset:
    """Make a dataset of fixed-size values with checksums; without rows there is nothing to chunk and to check."""
    if not shape[0]:
        return file.create_dataset(name, shape, dtype, track_times=False)
    chunks = (min(rows, shape[0]), *shape[1:])
    return file.create_dataset(name, shape, dtype, chunks=chunks, fletcher32=True, track_times=False)
