"""One committed range as one file: plain arrays, then a footer with the CRC-32 of each.

HDF5 is not used here: a shard is written once, read once in order, and gone after the seal. Written this way it
costs little more than the bare bytes, where HDF5's own format takes about half as long again.

Layout, little-endian: the blocks of `BLOCKS`, back to back, of the sizes that the footer says (``ids`` and ``failures``
are JSON in UTF-8); the footer, JSON; its length and its CRC-32 as uint32; the 8 bytes `MAGIC`.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pool3.errors import StoreError
from pool3.store.disk import start_writing, written_aside
from pool3.store.rows import Failure, Rows
from pool3.store.timing import Timing

MAGIC = b"pool3sh2"
_PIECE = 1 << 20
"""Bytes that are summed and written at a time."""

_END = struct.Struct("<II8s")

BLOCKS = ("source_index", "labels", "content_sha256", "ids", "failures", "features")
"""Names of the blocks in the order of the file; the features come last, so that they can be read in pieces."""


class Block(NamedTuple):
    """Size in bytes and CRC-32 of one block."""

    size: int
    crc32: int


class Footer(NamedTuple):
    """What a shard says of itself.

    Attributes:
        run: digest of the manifest that the shard belongs to.
        start: first index of its range.
        stop: index after the last.
        rows: count of rows n.
        failures: count of failures; ``n + failures == stop - start``.
        width: numbers a row, D.
        dtype: of the features.
        environments: what computed which indices of the range, see `pool3.store.environments`.
        blocks: name → size and CRC-32.
        timing: what its range took; nothing where it was not recorded.
    """

    run: str
    start: int
    stop: int
    rows: int
    failures: int
    width: int
    dtype: str
    environments: list[dict[str, Any]]
    blocks: dict[str, Block]
    timing: Timing = Timing()


def write_shard(
    path: Path, rows: Rows, run: str, environments: Sequence[Mapping[str, Any]], timing: Timing
) -> None:
    """Write a shard; it is durable when this returns, and absent when this raises.

    Args:
        path: where it goes.
        rows: what `check_rows` approved.
        run: digest of the manifest.
        environments: see `Footer`; JSON-able.
        timing: see `Footer`.

    Raises:
        OSError: it cannot be written.
    """
    failures = [tuple(getattr(f.storable(), name) for name in Failure.__slots__) for f in rows.failures]
    data: dict[str, memoryview] = {
        "source_index": _bytes(rows.source_index, "<i8"),
        "labels": _bytes(rows.labels, "<i4"),
        "content_sha256": _bytes(rows.content_sha256, "u1"),
        "ids": memoryview(json.dumps(list(rows.ids), ensure_ascii=False).encode()),
        "failures": memoryview(json.dumps(failures, ensure_ascii=False).encode()),
        "features": _bytes(rows.features, rows.features.dtype.newbyteorder("<")),
    }
    sums: dict[str, int] = {}
    with written_aside(path) as file:
        for name in BLOCKS:
            sums[name] = 0
            for start in range(0, len(data[name]), _PIECE):
                # While the next piece is summed, the disk is busy with this one.
                piece = data[name][start : start + _PIECE]
                sums[name] = zlib.crc32(piece, sums[name])
                file.write(piece)
                if len(piece) == _PIECE:
                    start_writing(file)
        footer = {
            "run": run,
            "start": rows.start,
            "stop": rows.stop,
            "rows": len(rows.source_index),
            "failures": len(failures),
            "width": rows.features.shape[1],
            "dtype": str(rows.features.dtype),
            "environments": [dict(part) for part in environments],
            "blocks": {name: [data[name].nbytes, sums[name]] for name in BLOCKS},
            "timing": timing.to_dict(),
        }
        text = json.dumps(footer).encode()
        file.write(text + _END.pack(len(text), zlib.crc32(text), MAGIC))


def _bytes(array: NDArray[Any], dtype: DTypeLike) -> memoryview:
    """The array's bytes, without a copy where it is contiguous already."""
    return np.ascontiguousarray(array, dtype=dtype).reshape(-1).view(np.uint8).data


class ShardReader:
    """A shard open for reading, block by block; each is checked as it is read.

    Attributes:
        path: the file.
        footer: what it says of itself.
    """

    path: Path
    footer: Footer

    def __init__(self, path: Path) -> None:
        """Open a shard and check its footer and its size.

        Raises:
            StoreError: it is missing, damaged, or no shard.
        """
        self.path = path
        try:
            self._file: BufferedReader = path.open("rb")
        except OSError as error:
            raise StoreError(f"the shard {path} cannot be read ({error.strerror})") from error
        self._offsets: dict[str, int] = {}
        try:
            self.footer = self._read_footer()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _read_footer(self) -> Footer:
        size = self.path.stat().st_size
        if size < _END.size:
            raise self._damaged("it is truncated")
        self._file.seek(size - _END.size)
        length, crc, magic = _END.unpack(self._file.read(_END.size))
        if magic != MAGIC or length > size - _END.size:
            raise self._damaged("it does not end like a shard")
        self._file.seek(size - _END.size - length)
        text = self._file.read(length)
        if zlib.crc32(text) != crc:
            raise self._damaged("the checksum of its footer is wrong")
        fields = json.loads(text)
        blocks = {name: Block(*fields["blocks"][name]) for name in BLOCKS}
        end = 0
        for name, block in blocks.items():
            self._offsets[name] = end
            end += block.size
        if end + length + _END.size != size:
            raise self._damaged(f"it has {size:,} bytes, which is not what its footer says")
        timing = Timing.from_dict(fields["timing"]) if "timing" in fields else Timing()
        return Footer(**(fields | {"blocks": blocks, "timing": timing}))

    def source_index(self) -> NDArray[np.int64]:
        """(n,) int64."""
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

    def features(self) -> NDArray[Any]:
        """(n, D), read-only."""
        dtype = np.dtype(self.footer.dtype).newbyteorder("<")
        return np.frombuffer(self._block("features"), dtype).reshape(-1, self.footer.width)

    def rows(self) -> Rows:
        """All that the shard holds, as it was written.

        Raises:
            StoreError: the shard is damaged.
        """
        return Rows(
            start=self.footer.start,
            stop=self.footer.stop,
            source_index=self.source_index(),
            ids=self.ids(),
            labels=self.labels(),
            content_sha256=self.content_sha256(),
            features=self.features(),
            failures=self.failures(),
        )

    def _block(self, name: str) -> bytes:
        self._file.seek(self._offsets[name])
        data = self._file.read(self.footer.blocks[name].size)
        if zlib.crc32(data) != self.footer.blocks[name].crc32:
            raise self._damaged(f"the checksum of its {name} is wrong")
        return data

    def _damaged(self, why: str) -> StoreError:
        return StoreError(
            f"the shard {self.path} is damaged: {why}; delete it and run again, and its range is computed anew"
        )


def total(footers: Iterable[Footer]) -> tuple[int, int]:
    """Rows and failures of several shards together."""
    rows = failures = 0
    for footer in footers:
        rows += footer.rows
        failures += footer.failures
    return rows, failures
