"""The reader of sealed feature files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from pool3.errors import StoreError, StoreNotFoundError
from pool3.store.digests import FINGERPRINT, Digests
from pool3.store.environments import Environments
from pool3.store.manifest import check_schema
from pool3.store.rows import Failure, Rows
from pool3.store.schema import FAILURE_FIELDS, TIMING, Provenance, chunk_rows
from pool3.store.table import Table
from pool3.store.timing import Timing


def open_features(path: str | os.PathLike[str]) -> FeatureFile:
    """Open a sealed feature file for reading.

    Raises:
        StoreNotFoundError: there is none.
        StoreError: it is no feature file, damaged, unfinished, or written by a newer pool3.
    """
    return FeatureFile(path)


class FeatureFile(Table):
    """A sealed feature file of N rows; a context manager, or closed by `close`, or left to Python.

    Attributes:
        path: the file.
        provenance: what made it.
        inputs: images in the source, N and the failures together.
        finished: when it was sealed; UTC, ISO 8601.
        run: digest of the settings and the moment that the file was begun with.
        digests: dataset → SHA-256, see `pool3.store.digests`.
        fingerprint: SHA-256 over all of the file; `pool3.store.verify` recomputes it.
        timing: what its rows took; nothing where it was not recorded.
        features: (N, D) float32 or float16, read when indexed.
    """

    path: Path
    provenance: Provenance
    inputs: int
    finished: str
    run: str
    digests: dict[str, str]
    fingerprint: str
    timing: Timing
    features: Features

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a file; see `open_features` for the errors."""
        self.path = Path(path)
        self._file = _open(self.path)
        try:
            with self._reading("the attributes"):
                self._read_attributes()
        except BaseException:
            self._file.close()
            raise

    def _read_attributes(self) -> None:
        attributes = self._file.attrs
        if "schema" not in attributes:
            raise StoreError(f"{self.path} is no feature file of pool3: it has no attribute schema")
        check_schema(int(attributes["schema"]), self.path)
        if not attributes.get("sealed", False):
            raise StoreError(f"{self.path} is not sealed; run the extraction again to finish it")
        self.provenance = Provenance.from_mapping(attributes)
        self.inputs = int(attributes["inputs"])
        self.finished = str(attributes["finished"])
        self.run = str(attributes["run"])
        self.digests = json.loads(attributes["digests"])
        self.fingerprint = str(attributes[FINGERPRINT])
        self.timing = Timing.from_dict(json.loads(attributes[TIMING])) if TIMING in attributes else Timing()
        rows, failures = int(attributes["rows"]), int(attributes["failures"])
        columns = ("features", "ids", "labels", "source_index", "content_sha256")
        counts = {name: len(self._file[name]) for name in columns}
        if (
            self.inputs != rows + failures
            or set(counts.values()) != {rows}
            or len(self._file["failures"]) != failures
        ):
            raise StoreError(
                f"{self.path} is damaged: {self.inputs} inputs, {rows} rows and {failures} failures by its "
                f"attributes, but {counts} and {len(self._file['failures'])} failures in it; make it again"
            )
        if self._file["features"].is_virtual:
            self._check_parts()
        self.features = Features(self._file["features"], self.path)

    def _check_parts(self) -> None:
        """Raise unless all parts are there: HDF5 would read zeros for those that are not."""
        for part in self.parts:
            place = self.path.parent / part["file"]
            try:
                with open_features(place) as file:
                    found = file.fingerprint
            except StoreError as error:
                raise StoreError(
                    f"{self.path} has its features in {place}, which cannot be read ({error}); put it back"
                ) from error
            if found != part["fingerprint"]:
                raise StoreError(
                    f"{self.path} has its features in {place}, which is another file by now; "
                    "put the old one back, or merge again"
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was read already stays usable."""
        self._file.close()

    @cached_property
    def ids(self) -> list[str]:
        """N ids, checked against their recorded digest.

        Raises:
            StoreError: they are damaged.
        """
        ids = self._texts("ids")
        digests = Digests()
        digests.texts("ids", ids)
        if digests.to_dict()["ids"] != self.digests["ids"]:
            raise StoreError(
                f"{self.path} is damaged: its ids do not have their recorded digest; make it again"
            )
        return ids

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """(N,) int32 indices into `label_names`, -1: none."""
        return self._column("labels")

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """The classes' names."""
        return tuple(self._texts("label_names"))

    @cached_property
    def source_index(self) -> NDArray[np.int64]:
        """(N,) int64, position of each row in the source."""
        return self._column("source_index")

    @cached_property
    def content_sha256(self) -> NDArray[np.uint8]:
        """(N, 32) uint8, SHA-256 of each image's bytes."""
        return self._column("content_sha256")

    @cached_property
    def environments(self) -> Environments:
        """What computed which indices, a dictionary a range; see `pool3.store.environments`."""
        return [json.loads(text) for text in self._texts("environments")]

    @cached_property
    def parts(self) -> list[dict[str, Any]]:
        """The files that were merged into this one, none for an extraction; see `pool3.store.merge`."""
        return [json.loads(text) for text in self._texts("parts")]

    @cached_property
    def failures(self) -> list[Failure]:
        """The images that became no row, by ascending index."""
        with self._reading("/failures"):
            records = self._file["failures"][()]
            return [
                Failure(
                    int(record[FAILURE_FIELDS[0]]), *(record[name].decode() for name in FAILURE_FIELDS[1:])
                )
                for record in records
            ]

    def rows(self, start: int, stop: int) -> Rows:
        """All that became of the images [start, stop) of the source.

        Raises:
            StoreError: the file is damaged there.
        """
        first, last = self._failed_between(start, stop)
        here = slice(start - first, stop - last)
        with self._reading(f"images {start} to {stop}"):
            return Rows(
                start=start,
                stop=stop,
                source_index=self._file["source_index"][here],
                ids=list(self._file["ids"].asstr()[here]),
                labels=self._file["labels"][here],
                content_sha256=self._file["content_sha256"][here],
                features=self.features[here],
                failures=self.failures[first:last],
            )

    def counts(self, start: int, stop: int) -> tuple[int, int]:
        """How many of the images [start, stop) of the source became rows, and how many failures."""
        first, last = self._failed_between(start, stop)
        return stop - start - (last - first), last - first

    def _failed_between(self, start: int, stop: int) -> tuple[int, int]:
        """Where the failures with an index in [start, stop) begin and end among all."""
        first, last = np.searchsorted(self._failed, (start, stop))
        return int(first), int(last)

    @cached_property
    def _failed(self) -> NDArray[np.int64]:
        return np.array([failure.index for failure in self.failures], np.int64)

    def _column(self, name: str) -> NDArray[Any]:
        with self._reading(f"/{name}"):
            values: NDArray[Any] = self._file[name][()]
            return values

    def _texts(self, name: str) -> list[str]:
        with self._reading(f"/{name}"):
            return list(self._file[name].asstr()[()])

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Turn what h5py raises on damage into an error that says so."""
        _check_open(self._file, self.path)
        try:
            yield
        except StoreError:
            raise
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise StoreError(
                f"{self.path} is damaged: {what} cannot be read ({error}); make it again"
            ) from error


class Features:
    """(N, D) float32 on disk. Indexing reads the rows it needs and follows NumPy's rules in full.

    Slices with any step, lists, arrays and masks of rows touch only the chunks that hold them; an index that is
    not about rows first (a new axis, a mask of two dimensions) reads all. ``numpy.asarray(features)`` reads all too.

    Attributes:
        shape: (N, D).
        dtype: float32.
        ndim: 2.
    """

    ndim = 2

    def __init__(self, dataset: h5py.Dataset, path: Path) -> None:
        self.shape: tuple[int, int] = dataset.shape
        self.dtype: np.dtype[Any] = dataset.dtype
        self._dataset = dataset
        self._path = path
        self._rows: NDArray[np.int64] | None = None  # rows of the dataset that stand here; None: all
        self._step: int = (
            dataset.chunks[0] if dataset.chunks else chunk_rows(self.shape[1] * dataset.dtype.itemsize)
        )

    def __len__(self) -> int:
        """N."""
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<Features {self.shape[0]} × {self.shape[1]} {self.dtype} of {self._path}>"

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield the rows, reading a chunk at a time."""
        for start in range(0, len(self), self._step):
            yield from self[start : start + self._step]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("features lie on disk, so an array of them is always a copy")
        return self[:].astype(dtype or self.dtype, copy=False)

    def view(self, rows: NDArray[np.int64]) -> Features:
        """These with their first axis narrowed to `rows`, (M,) int64; nothing is read."""
        narrowed = copy(self)
        narrowed._rows = self._lookup(rows)
        narrowed.shape = (len(rows), self.shape[1])
        return narrowed

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read what ``array[key]`` would be.

        Raises:
            IndexError: as NumPy raises it.
            StoreError: a chunk's checksum is wrong; the message names its rows.
        """
        place: Any
        rows, *rest = (key if isinstance(key, tuple) else (key,)) or (...,)
        if isinstance(rows, slice):
            block, place = self._read(self._lookup(rows)), slice(None)
        elif isinstance(rows, int | np.integer) and not isinstance(rows, bool):
            row = _in_range(int(rows), len(self))
            block, place = self._read(self._lookup(slice(row, row + 1))), 0
        elif isinstance(rows, list | np.ndarray) and np.ndim(rows) == 1:
            block = self._read(self._lookup(rows))
            # Beside other indices an array of rows is not a slice; alone it would only cost a copy.
            place = np.arange(len(block)) if rest else slice(None)
        else:
            block, place = self._read(self._lookup(slice(None))), rows
        found: NDArray[Any] = block[(place, *rest)]
        return found

    def _lookup(self, key: Any) -> NDArray[np.int64]:
        """Rows of the dataset for an index of one dimension into these."""
        if self._rows is None and isinstance(key, slice):
            # A slice of a large file must not cost a number for each of its rows.
            return np.arange(*key.indices(len(self)))
        rows = np.arange(len(self)) if self._rows is None else self._rows
        found: NDArray[np.int64] = rows[key]
        return found

    def _read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Read rows, each chunk that holds some of them once and by itself, so that damage can be told to it."""
        _check_open(self._dataset, self._path)
        out = np.empty((len(rows), self.shape[1]), self.dtype)
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        done = 0
        while done < len(rows):
            first = int(ascending[done])
            chunk = first // self._step
            end = int(np.searchsorted(ascending, (chunk + 1) * self._step))
            try:
                block = self._dataset[first : int(ascending[end - 1]) + 1]
            except (OSError, RuntimeError) as error:
                stop = min((chunk + 1) * self._step, len(self._dataset))
                raise StoreError(
                    f"{self._path} is damaged in rows {chunk * self._step} to {stop} of /features ({error}); "
                    "make it again"
                ) from error
            out[order[done:end]] = block[ascending[done:end] - first]
            done = end
        return out


def _in_range(row: int, count: int) -> int:
    if not -count <= row < count:
        raise IndexError(f"index {row} is out of bounds for axis 0 with size {count}")
    return row % count


def _check_open(handle: h5py.File | h5py.Dataset, path: Path) -> None:
    if not handle:
        raise StoreError(f"{path} is closed; open it again to read from it")


def _open(path: Path) -> h5py.File:
    if not path.exists():
        shards = path.with_name(path.name + ".shards")
        unfinished = (
            f", only unfinished work in {shards}: run the extraction again" if shards.is_dir() else ""
        )
        raise StoreNotFoundError(f"there is no feature file {path}{unfinished}")
    if path.is_dir():
        raise StoreError(f"{path} is a folder; name the feature file itself")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise StoreError(
            f"{path} is no HDF5 file, or a damaged one ({str(error).splitlines()[0]})"
        ) from error
