"""One committed range as one file: a header, then plain arrays, each with a CRC-32.

HDF5 is not used here: a shard is written once, read once in order, and gone after the seal. Written this way it costs
little more than the bare bytes, where HDF5's own format takes about half as long again (see ``make bench``, case ``sink``).

Layout, little-endian: the 8 bytes `MAGIC`; the header's length as uint32 and its CRC-32 as uint32; the header, JSON in
UTF-8; the blocks of `BLOCKS`, back to back, of the sizes that the header says. ``ids`` and ``failures`` are JSON in UTF-8.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from pool3.errors import StoreError
from pool3.store.disk import written_aside
from pool3.store.rows import Failure, Rows

MAGIC = b"pool3sh1"
_LENGTHS = struct.Struct("<II")

BLOCKS = ("source_index", "labels", "content_sha256", "ids", "failures", "features")
"""Names of the blocks in the order of the file; the features come last, so that they can be read in pieces."""


class Block(NamedTuple):
    """Size in bytes and CRC-32 of one block."""

    size: int
    crc32: int


class Header(NamedTuple):
    """What a shard says of itself.

    Attributes:
        run: digest of the manifest that the shard belongs to.
        start: first index of its range.
        stop: index after the last.
        rows: count of rows n.
        failures: count of failures; ``n + failures == stop - start``.
        width: numbers a row, D.
        blocks: name → size and CRC-32.
    """

    run: str
    start: int
    stop: int
    rows: int
    failures: int
    width: int
    blocks: dict[str, Block]


def write_shard(path: Path, rows: Rows, run: str) -> None:
    """Write a shard; it is durable when this returns, and absent when this raises.

    Args:
        path: where it goes.
        rows: what `check_rows` approved.
        run: digest of the manifest.

    Raises:
        OSError: it cannot be written.
    """
    failures = [tuple(getattr(f.storable(), name) for name in Failure.__slots__) for f in rows.failures]
    data = {
        "source_index": _bytes(rows.source_index, "<i8"),
        "labels": _bytes(rows.labels, "<i4"),
        "content_sha256": _bytes(rows.content_sha256, "u1"),
        "ids": json.dumps(list(rows.ids), ensure_ascii=False).encode(),
        "failures": json.dumps(failures, ensure_ascii=False).encode(),
        "features": _bytes(rows.features, "<f4"),
    }
    header = json.dumps(
        {
            "run": run,
            "start": rows.start,
            "stop": rows.stop,
            "rows": len(rows.source_index),
            "failures": len(failures),
            "width": rows.features.shape[1],
            "blocks": {name: [memoryview(data[name]).nbytes, zlib.crc32(data[name])] for name in BLOCKS},
        }
    ).encode()
    with written_aside(path) as file:
        file.write(MAGIC + _LENGTHS.pack(len(header), zlib.crc32(header)) + header)
        for name in BLOCKS:
            file.write(data[name])


def _bytes(array: NDArray[Any], dtype: str) -> NDArray[np.uint8]:
    """The array's bytes, without a copy where it is contiguous already."""
    return np.ascontiguousarray(array, dtype=dtype).reshape(-1).view(np.uint8)


class ShardReader:
    """A shard open for one pass: small blocks whole, then the features in pieces of any size; each is checked.

    Attributes:
        path: the file.
        header: what it says of itself.
    """

    path: Path
    header: Header

    def __init__(self, path: Path) -> None:
        """Open a shard and check its header and its size.

        Raises:
            StoreError: it is missing, damaged, or no shard.
        """
        self.path = path
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise StoreError(f"the shard {path} cannot be read ({error.strerror})") from error
        try:
            self.header = self._read_header()
        except BaseException:
            self._file.close()
            raise
        self._crc = 0
        self._left = self.header.rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _read_header(self) -> Header:
        if self._file.read(len(MAGIC)) != MAGIC:
            raise self._damaged("it does not begin like a shard")
        try:
            length, crc = _LENGTHS.unpack(self._file.read(_LENGTHS.size))
        except struct.error as error:
            raise self._damaged("it is truncated") from error
        text = self._file.read(length)
        if len(text) != length:
            raise self._damaged("it is truncated")
        if zlib.crc32(text) != crc:
            raise self._damaged("the checksum of its header is wrong")
        fields = json.loads(text)
        blocks = {name: Block(*fields.pop("blocks_")[name]) for name in ()} or {
            name: Block(*pair) for name, pair in fields["blocks"].items()
        }
        header = Header(**(fields | {"blocks": blocks}))
        size = len(MAGIC) + _LENGTHS.size + length + sum(block.size for block in blocks.values())
        found = self.path.stat().st_size
        if found != size:
            raise self._damaged(f"it has {found:,} bytes, where its header says {size:,}")
        return header

    def source_index(self) -> NDArray[np.int64]:
        """(n,) int64. The methods up to `failures` are called in this order, each once."""
        return np.frombuffer(self._block("source_index"), "<i8")

    def labels(self) -> NDArray[np.int32]:
        """(n,) int32."""
        return np.frombuffer(self._block("labels"), "<i4")

    def content_sha256(self) -> NDArray[np.uint8]:
        """(n, 32) uint8."""
        return np.frombuffer(self._block("content_sha256"), np.uint8).reshape(-1, 32)

    def ids(self) -> list[str]:
        """The n ids."""
        return list(json.loads(self._block("ids")))

    def failures(self) -> list[Failure]:
        """The failures."""
        return [Failure(*fields) for fields in json.loads(self._block("failures"))]

    def read_features(self, out: NDArray[np.float32]) -> int:
        """Read the next rows into `out`, (m, D) float32 and contiguous: m of them, or as many as are left.

        Returns:
            Count of rows read. The checksum is compared with the last of them.

        Raises:
            StoreError: the shard is damaged.
        """
        count = min(self._left, len(out))
        view = out[:count].reshape(-1).view(np.uint8)
        if self._file.readinto(memoryview(view)) != view.nbytes:  # type: ignore[attr-defined]
            raise self._damaged("it is truncated")
        self._crc = zlib.crc32(view, self._crc)
        self._left -= count
        if not self._left:
            self._check("features", self._crc)
        return count

    def _block(self, name: str) -> bytes:
        data = self._file.read(self.header.blocks[name].size)
        self._check(name, zlib.crc32(data))
        return data

    def _check(self, name: str, crc: int) -> None:
        if crc != self.header.blocks[name].crc32:
            raise self._damaged(f"the checksum of its {name} is wrong")

    def _damaged(self, why: str) -> StoreError:
        return StoreError(
            f"the shard {self.path} is damaged: {why}; delete it and run again, and its range is computed anew"
        )


def total(headers: Iterable[Header]) -> tuple[int, int]:
    """Rows and failures of several shards together."""
    rows = failures = 0
    for header in headers:
        rows += header.rows
        failures += header.failures
    return rows, failures
