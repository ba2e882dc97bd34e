"""Sealing: the shards of all ranges become one HDF5 file, through a buffer of fixed size."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pool3.store.disk import sync_file, sync_folder
from pool3.store.manifest import Manifest
from pool3.store.rows import Failure
from pool3.store.schema import FAILURE_FIELDS, SCHEMA, chunk_rows
from pool3.store.shard import Footer, ShardReader, environments, total

PARTIAL = ".partial"
"""Suffix of the output while it is being sealed."""

_BUFFER_CHUNKS = 8
"""Chunks of about 1 MiB that are gathered before they are written."""

_COLUMN_CHUNK_BYTES = 1 << 18
"""Chunks of the narrow datasets: a quarter of HDF5's default chunk cache, so that a chunk stays there until full."""

_TEXT = h5py.string_dtype()
_FAILURE = np.dtype([(FAILURE_FIELDS[0], np.int64), *((name, _TEXT) for name in FAILURE_FIELDS[1:])])


def write_sealed(path: Path, manifest: Manifest, shards: Mapping[Path, Footer]) -> None:
    """Write the sealed file beside `path`, flush it to the disk, and rename it to `path`.

    Args:
        path: the output.
        manifest: what it is to be.
        shards: shard → its footer, of all ranges, ascending.

    Raises:
        StoreError: a shard is damaged; nothing is written then.
        OSError: the file cannot be written.
    """
    rows, failures = total(shards.values())
    partial = path.with_name(path.name + PARTIAL)
    try:
        # w0=1: a chunk written in full is the first to leave the cache, since nobody comes back to it.
        with h5py.File(partial, "w", rdcc_w0=1) as file:
            ids_sha256 = _Sealer(file, manifest, rows, failures).copy(shards)
            file.attrs["schema"] = SCHEMA
            for name, value in manifest.provenance.to_attributes().items():
                file.attrs[name] = value
            file.attrs["inputs"] = manifest.inputs
            file.attrs["rows"] = rows
            file.attrs["failures"] = failures
            file.attrs["ids_sha256"] = ids_sha256
            file.attrs["environments"] = json.dumps(
                environments(shards.values()), ensure_ascii=False, sort_keys=True
            )
            file.attrs["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
            file.attrs["run"] = manifest.run
            file.attrs["sealed"] = True
        sync_file(partial)
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


class _Sealer:
    """The datasets of a file that is being sealed, and how far they are filled."""

    def __init__(self, file: h5py.File, manifest: Manifest, rows: int, failures: int) -> None:
        width = manifest.width
        self._features = _fixed(file, "features", (rows, width), np.float32, chunk_rows(width))
        self._columns = {
            name: _fixed(file, name, (rows, *tail), dtype, _COLUMN_CHUNK_BYTES // row_bytes)
            for name, tail, dtype, row_bytes in (
                ("labels", (), np.int32, 4),
                ("source_index", (), np.int64, 8),
                ("content_sha256", (32,), np.uint8, 32),
            )
        }
        self._ids = file.create_dataset("ids", (rows,), _TEXT, track_times=False)
        names = np.asarray(manifest.label_names, dtype=object)
        file.create_dataset("label_names", names.shape, _TEXT, data=names, track_times=False)
        self._failures = file.create_dataset("failures", (failures,), _FAILURE, track_times=False)
        self._buffer = np.empty((chunk_rows(width) * _BUFFER_CHUNKS, width), np.float32)
        self._buffered = self._written = self._rows = self._failed = 0
        self._digest = hashlib.sha256()

    def copy(self, shards: Iterable[Path]) -> str:
        """Copy all shards; return the digest of the ids."""
        for path in shards:
            with ShardReader(path) as shard:
                self._copy_columns(shard)
                self._copy_failures(shard.failures())
                while count := shard.read_features(self._buffer[self._buffered :]):
                    self._buffered += count
                    if self._buffered == len(self._buffer):
                        self._flush()
        self._flush()
        return self._digest.hexdigest()

    def _copy_columns(self, shard: ShardReader) -> None:
        here = slice(self._rows, self._rows + shard.footer.rows)
        if not shard.footer.rows:
            return
        ids = shard.ids()
        self._columns["labels"][here] = shard.labels()
        self._columns["source_index"][here] = shard.source_index()
        self._columns["content_sha256"][here] = shard.content_sha256()
        self._ids[here] = ids
        for id_ in ids:
            self._digest.update(id_.encode() + b"\0")
        self._rows = here.stop

    def _copy_failures(self, failures: list[Failure]) -> None:
        if not failures:
            return
        values = [tuple(getattr(failure, name) for name in FAILURE_FIELDS) for failure in failures]
        self._failures[self._failed : self._failed + len(values)] = np.array(values, _FAILURE)
        self._failed += len(values)

    def _flush(self) -> None:
        """Write the buffer: whole chunks, but for the last ones of the file."""
        if self._buffered:
            end = self._written + self._buffered
            self._features[self._written : end] = self._buffer[: self._buffered]
            self._written, self._buffered = end, 0


def _fixed(file: h5py.File, name: str, shape: tuple[int, ...], dtype: Any, rows: int) -> h5py.Dataset:
    """A dataset of fixed-size values with checksums; without rows there is nothing to chunk and to check."""
    if not shape[0]:
        return file.create_dataset(name, shape, dtype, track_times=False)
    chunks = (min(rows, shape[0]), *shape[1:])
    return file.create_dataset(name, shape, dtype, chunks=chunks, fletcher32=True, track_times=False)
