"""Verifies a sealed feature file on its own: structure, checksums, digests, and what the values mean.

A finding never ends the checks, so that all damage is told at once. Memory does not grow with the rows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pool3.errors import StoreError
from pool3.store.checks import SHOWN, Check, listed
from pool3.store.digests import DATASETS, Digests
from pool3.store.environments import Environments
from pool3.store.manifest import check_schema
from pool3.store.reader import open_features
from pool3.store.rows import Failure
from pool3.store.schema import ENVIRONMENT, FAILURE_FIELDS, chunk_rows
from pool3.store.structure import (
    COLUMNS,
    UNREADABLE,
    check_attributes,
    check_counts,
    check_datasets,
    check_fingerprint,
    first_line,
)

_TEXTS = 4096
"""Texts read at a time."""


def verify_file(
    path: str | os.PathLike[str], *, progress: Callable[[int, int], None] | None = None
) -> list[Check]:
    """Check all of a sealed feature file, without its source.

    Args:
        path: the file. Where it was merged and is virtual, the features in its parts are read too.
        progress: called with the rows of features read so far, and all of them.

    Returns:
        The checks in the order they were made; they end early where the file is no feature file of this schema.

    Raises:
        StoreNotFoundError: there is no file.
        StoreError: it is a folder.
    """
    path = Path(path)
    if not path.is_file():
        open_features(path).close()  # raises, and says what is there instead
    checks: list[Check] = []
    try:
        with h5py.File(path, "r") as file:
            checks.extend(_checks(file, path, progress))
    except UNREADABLE as error:
        checks.append(Check("file", False, f"no HDF5 file, or a damaged one ({first_line(error)})"))
    return checks


def _checks(file: h5py.File, path: Path, progress: Callable[[int, int], None] | None) -> Iterator[Check]:
    attributes, types = check_attributes(file)
    try:
        if "schema" not in attributes:
            raise StoreError(f"{path} is no feature file of pool3: it has no attribute schema")
        check_schema(int(attributes["schema"]), path)
    except (StoreError, ValueError, TypeError) as error:
        yield Check("file", False, first_line(error))
        return
    size = path.stat().st_size
    yield Check("file", True, f"feature file of schema {attributes['schema']}, {size:,} bytes")
    yield types
    yield check_fingerprint(attributes)
    datasets, layout = check_datasets(file, attributes, size)
    yield layout
    yield check_counts(datasets, attributes)
    reading = _Reading(datasets)
    yield from _parts(reading, path)
    yield _indices(reading, attributes.get("inputs"))
    yield _labels(reading)
    yield _environments(reading, attributes.get("inputs"))
    reading.drain("ids")
    reading.drain("content_sha256")
    yield _finite(reading, progress)
    yield reading.check_checksums()
    yield reading.check_digests(attributes)


class _Reading:
    """One pass over each dataset, block by block; blocks that cannot be read are noted and left out.

    Attributes:
        datasets: name → dataset, those that can be read as the schema says.
        damaged: name → ranges of rows that could not be read, of the datasets read so far.
    """

    def __init__(self, datasets: Mapping[str, h5py.Dataset]) -> None:
        self.datasets = datasets
        self.damaged: dict[str, list[tuple[int, int]]] = {}
        self._digests = Digests()
        self._blocks = 0

    def blocks(self, name: str) -> Iterator[tuple[int, Any]]:
        """Yield the first row and the values of each block that can be read: an array, texts or failures."""
        damaged = self.damaged.setdefault(name, [])
        dataset = self.datasets.get(name)
        if dataset is None:
            return
        step = _step(dataset)
        for start in range(0, len(dataset), step):
            stop = min(start + step, len(dataset))
            try:
                block = self._read(name, dataset, start, stop)
            except UNREADABLE:
                first = damaged.pop()[0] if damaged and damaged[-1][1] == start else start
                damaged.append((first, stop))
            else:
                self._blocks += 1
                yield start, block

    def whole(self, name: str) -> list[Any]:
        """Read a dataset of texts or failures, as far as it can be read."""
        return list(chain.from_iterable(block for _, block in self.blocks(name)))

    def drain(self, name: str) -> None:
        """Read a dataset for its checksums and its digest alone."""
        for _ in self.blocks(name):
            pass

    def intact(self, name: str) -> bool:
        """Whether a dataset is there and could be read in full; it was read before."""
        return name in self.datasets and not self.damaged[name]

    def _read(self, name: str, dataset: h5py.Dataset, start: int, stop: int) -> Any:
        if name == "features" or name in COLUMNS:
            numbers = dataset[start:stop]
            self._digests.numbers(name, numbers)
            return numbers
        if name == "failures":
            index, *fields = FAILURE_FIELDS
            failures = [
                Failure(int(record[index]), *(record[field].decode() for field in fields))
                for record in dataset[start:stop]
            ]
            self._digests.failures(failures)
            return failures
        texts = list(dataset.asstr()[start:stop])
        self._digests.texts(name, texts)
        return texts

    def check_checksums(self) -> Check:
        """Tell what could not be read: chunks of numbers by their checksums, texts by HDF5's own structure."""
        problems = [
            f"rows {start} to {stop} of /{name} cannot be read, or not with their checksums"
            for name, ranges in self.damaged.items()
            for start, stop in ranges
        ]
        return Check.of(
            "checksums", problems, f"{self._blocks:,} blocks of {len(self.damaged)} datasets read"
        )

    def check_digests(self, attributes: Mapping[str, Any]) -> Check:
        """Compare the digests of what was read with those that were recorded when the file was sealed."""
        try:
            recorded = dict(json.loads(attributes["digests"]))
        except UNREADABLE:
            recorded = {}
        found = self._digests.to_dict()
        wrong = [
            f"/{name}" for name in DATASETS if not self.intact(name) or found[name] != recorded.get(name)
        ]
        problems = [f"not what was sealed: {', '.join(wrong)}"] if wrong else []
        return Check.of("digests", problems, f"{len(DATASETS)} datasets are what was sealed")


def _step(dataset: h5py.Dataset) -> int:
    """Rows read at a time: a chunk, or as much as a chunk of a virtual dataset would be."""
    if dataset.chunks:
        return int(dataset.chunks[0])
    return chunk_rows(dataset.shape[1] * dataset.dtype.itemsize) if dataset.is_virtual else _TEXTS


def _parts(reading: _Reading, path: Path) -> Iterator[Check]:
    """Look for the files that hold the features of a virtual file: HDF5 would read zeros for those that are gone."""
    texts = reading.whole("parts")
    features = reading.datasets.get("features")
    if features is None or not features.is_virtual:
        return
    problems = []
    try:
        parts = [(path.parent / part["file"], part["fingerprint"]) for part in map(json.loads, texts)]
    except UNREADABLE as error:
        yield Check("parts", False, f"/parts cannot be understood ({first_line(error)})")
        return
    for place, expected in parts:
        try:
            with open_features(place) as file:
                if file.fingerprint != expected:
                    problems.append(f"{place} is another file by now: put the old one back, or merge again")
        except StoreError as error:
            problems.append(f"{first_line(error)}: put it back")
    yield Check.of("parts", problems, f"the features lie in {len(parts)} other files, which are there")


def _indices(reading: _Reading, inputs: Any) -> Check:
    """Whether rows and failures account for each index of the source exactly once, in order."""
    failed = np.array([failure.index for failure in reading.whole("failures")], np.int64)
    # What a row's index must be: its own number, and one more for each failure before it.
    before = failed - np.arange(len(failed))
    wrong = []
    for start, block in reading.blocks("source_index"):
        rows = np.arange(start, start + len(block))
        expected = rows + np.searchsorted(before, rows, "right")
        wrong += [f"row {start + i} has {block[i]}" for i in np.flatnonzero(block != expected)[:1]]
    problems = []
    if np.any(np.diff(failed) <= 0) or (len(failed) and not 0 <= failed[0] <= failed[-1] < (inputs or 0)):
        problems.append("those of /failures do not ascend, or lie outside the inputs")
    elif wrong and reading.intact("failures"):
        problems.append(f"/source_index and /failures do not take turns: {listed(wrong, len(wrong))}")
    if not (reading.intact("failures") and reading.intact("source_index")):
        problems.append("/source_index or /failures cannot be read in full")
    return Check.of("indices", problems, "each image of the source is one row or one failure, in order")


def _labels(reading: _Reading) -> Check:
    """Whether each row's label is one of the names, or none."""
    names = len(reading.whole("label_names"))
    wrong = [
        f"row {start + row} has {block[row]}"
        for start, block in reading.blocks("labels")
        for row in np.flatnonzero((block < -1) | (block >= names))[:1]
    ]
    problems = [f"outside the {names} names: {listed(wrong, len(wrong))}"] if wrong else []
    if not (reading.intact("label_names") and reading.intact("labels")):
        problems = ["/labels or /label_names cannot be read in full"]
    return Check.of("labels", problems, f"all among the {names} names, or -1")


def _environments(reading: _Reading, inputs: Any) -> Check:
    """Whether it is told for each image of the source what computed it."""
    texts = reading.whole("environments")
    problems = []
    try:
        entries: Environments = [json.loads(text) for text in texts]
        bounds = [0, *(entry["stop"] for entry in entries)]
        if [entry["start"] for entry in entries] != bounds[:-1] or bounds[-1] != inputs:
            problems.append(f"they do not cover the {inputs} inputs")
        if any(entry["start"] >= entry["stop"] or set(ENVIRONMENT) - set(entry) for entry in entries):
            problems.append("an entry is empty, or lacks a field")
    except UNREADABLE as error:
        problems.append(f"they cannot be understood ({first_line(error)})")
    if not reading.intact("environments"):
        problems = ["/environments cannot be read in full"]
    return Check.of("environments", problems, f"what computed each image is told, in {len(texts)} ranges")


def _finite(reading: _Reading, progress: Callable[[int, int], None] | None) -> Check:
    """Whether the features are numbers, those that can be read."""
    count = 0
    first: list[int] = []
    total = len(reading.datasets.get("features", ()))
    for start, block in reading.blocks("features"):
        rows = start + np.flatnonzero(~np.isfinite(block).all(axis=1))
        count += len(rows)
        first += list(islice(rows.tolist(), SHOWN - len(first)))
        if progress is not None:
            progress(start + len(block), total)
    problems = [f"{count:,} rows hold NaN or infinity: {listed(first, count)}"] if count else []
    return Check.of("finite", problems, "no feature that could be read is NaN or infinite")
