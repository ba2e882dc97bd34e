"""Joining feature files of one provenance into one: the rows copied, or left where they are.

An entry of ``/parts``: ``file`` (path, relative to the merged file's folder where it is virtual, else the name),
``fingerprint``, ``run``, ``inputs``, ``rows``, ``source`` and ``source_manifest_sha256``. The merged file's own
``source_manifest_sha256`` is the SHA-256 over those of the parts, each as hexadecimal text and a NUL byte.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pool3.errors import OutputExistsError, SpecError, StoreError
from pool3.store.folder import ShardFolder
from pool3.store.guards import check_replaceable, check_space, writing
from pool3.store.lock import FolderLock
from pool3.store.manifest import Manifest
from pool3.store.reader import FeatureFile, open_features
from pool3.store.rows import Rows
from pool3.store.schema import IDENTITY, Provenance, differences
from pool3.store.seal import Part, parts_of, write_sealed
from pool3.store.timing import summed

_READ_BYTES = 32 << 20
"""Features in memory at a time."""

_DESCRIBED = 8
"""Files that the attribute ``source`` names."""


@dataclass(frozen=True, slots=True)
class MergeResult:
    """What a merge wrote.

    Attributes:
        output: the file.
        files: count of files that were joined.
        inputs: images in all.
        rows: count of rows N.
        failures: count of failures.
        virtual: whether the features stayed in the parts.
        bytes: size of the file.
    """

    output: Path
    files: int
    inputs: int
    rows: int
    failures: int
    virtual: bool
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name, JSON-able."""
        return {name: getattr(self, name) for name in self.__slots__} | {"output": str(self.output)}


def merge_features(
    paths: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    virtual: bool = False,
    prefix_ids: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> MergeResult:
    """Join feature files, one after the other, into a sealed one; memory does not grow with the rows.

    Indices of the source are counted on from file to file; label names are united in the order in which they first
    appear. All of it is read, so that each part's checksums are compared on the way.

    Args:
        paths: sealed files that agree in all of `IDENTITY` but the source.
        output: path of the merged file; folders above it are made.
        virtual: leave the features where they are: the merged file refers to the parts, which have to stay.
        prefix_ids: put each file's name without its suffix before its ids, as in ``name/id``.
        overwrite: replace an existing output.
        progress: called with the images read and their total.

    Raises:
        SpecError: no file is given, files differ in provenance, or two rows have the same id.
        OutputExistsError: the output exists, or is one of the files.
        StoreError: a file is damaged, or the output cannot be written.
    """
    if not paths:
        raise SpecError("no feature file was given: name at least one to merge")
    output = Path(output)
    with ExitStack() as stack:
        files = [stack.enter_context(open_features(path)) for path in paths]
        _check_alike(files)
        _check_output(output, files, overwrite)
        prefixes = [f"{file.path.stem}/" if prefix_ids else "" for file in files]
        _check_ids(files, prefixes)
        names = tuple(dict.fromkeys(name for file in files for name in file.label_names))
        manifest = _manifest(files, names)
        folder = ShardFolder(output)
        with writing(output):
            lock = FolderLock.acquire(folder.path)
            try:
                if overwrite:
                    folder.clear()
                elif folder.manifest() is not None:
                    raise OutputExistsError(
                        f"{output} is being extracted: run that to its end, or --overwrite to discard it"
                    )
                if not virtual:
                    check_space(output, shards=0, sealed=manifest.inputs * manifest.image_bytes)
                # Without rows there is nothing to refer to.
                layout = _layout(files, manifest, output.parent) if virtual and any(map(len, files)) else None
                parts = list(_parts(files, prefixes, manifest))
                if progress is not None:
                    parts = [_reporting(part, progress, manifest.inputs) for part in parts]
                places = [_place(file, output.parent) if virtual else file.path.name for file in files]
                entries = [_entry(file, place) for file, place in zip(files, places, strict=True)]
                timing = partial(summed, [file.timing for file in files])
                write_sealed(output, manifest, parts, merged=entries, timing=timing, features=layout)
            finally:
                folder.remove_empty()
                lock.release()
    rows = sum(part.rows for part in parts)
    size = output.stat().st_size
    return MergeResult(output, len(files), manifest.inputs, rows, manifest.inputs - rows, virtual, size)


def _check_alike(files: Sequence[FeatureFile]) -> None:
    first = files[0].provenance
    names = [*(name for name in IDENTITY if name != "source_manifest_sha256"), "feature_shape"]
    for file in files[1:]:
        if found := differences(first, file.provenance, names):
            raise SpecError(
                f"{files[0].path} and {file.path} were made with different settings ({'; '.join(found)}), "
                "so their rows cannot be compared; merge files of one provenance"
            )


def _check_output(output: Path, files: Sequence[FeatureFile], overwrite: bool) -> None:
    if output.is_dir():
        raise StoreError(f"{output} is a folder; name a file to write")
    if not output.exists():
        return
    for file in files:
        if output.samefile(file.path):
            raise OutputExistsError(f"{output} is one of the files to merge; name another output")
    if not overwrite:
        raise OutputExistsError(
            f"{output} exists, so it was left alone; name another, or --overwrite to replace it"
        )
    check_replaceable(output)


def _check_ids(files: Sequence[FeatureFile], prefixes: Sequence[str]) -> None:
    """Raise where an image would be in the merged file twice, as a row or as a failure."""
    seen: dict[str, FeatureFile] = {}
    for file, prefix in zip(files, prefixes, strict=True):
        for id_ in [*file.ids, *(failure.id for failure in file.failures)]:
            other = seen.setdefault(prefix + id_, file)
            if other is not file:
                raise SpecError(
                    f"{other.path} and {file.path} both hold the image {prefix + id_!r}; "
                    "merge files of different images, or --prefix-ids to tell them apart by the files' names"
                )


def _manifest(files: Sequence[FeatureFile], names: tuple[str, ...]) -> Manifest:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.provenance.source_manifest_sha256.encode() + b"\0")
    sources = [file.path.name for file in files]
    described = (
        sources if len(sources) <= _DESCRIBED else [sources[0], "…", f"{sources[-1]} ({len(sources)} files)"]
    )
    provenance: Provenance = replace(
        files[0].provenance,
        source=", ".join(described),
        source_manifest_sha256=digest.hexdigest(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    width = files[0].features.shape[1]
    step = max(1, _READ_BYTES // (width * files[0].features.dtype.itemsize))
    return Manifest(provenance, sum(file.inputs for file in files), width, names, step)


@dataclass(frozen=True, slots=True)
class _Member:
    """A file, and how its numbers and names become those of the merged one."""

    file: FeatureFile
    offset: int
    prefix: str
    labels: NDArray[np.int32]  # old index → new one; the last answers for -1

    def parts(self, step: int) -> Iterator[Part]:
        """Yield the file in ranges of `step` images."""
        ranges = [(i, min(i + step, self.file.inputs)) for i in range(0, self.file.inputs, step)]
        for part in parts_of(self.file, ranges):
            environments = [
                entry | {"start": entry["start"] + self.offset, "stop": entry["stop"] + self.offset}
                for entry in part.environments
            ]
            yield part._replace(environments=environments, read=partial(self.moved, part.read))

    def moved(self, read: Callable[[], Rows]) -> Rows:
        """Read a range of the file, in the merged file's numbers."""
        rows = read()
        return replace(
            rows,
            start=rows.start + self.offset,
            stop=rows.stop + self.offset,
            source_index=rows.source_index + self.offset,
            ids=[self.prefix + id_ for id_ in rows.ids],
            labels=self.labels[rows.labels],
            failures=[
                replace(failure, index=failure.index + self.offset, id=self.prefix + failure.id)
                for failure in rows.failures
            ],
        )


def _parts(files: Sequence[FeatureFile], prefixes: Sequence[str], manifest: Manifest) -> Iterator[Part]:
    """Yield all files in ranges that fit into memory, in the merged file's numbers."""
    number = {name: i for i, name in enumerate(manifest.label_names)}
    offset = 0
    for file, prefix in zip(files, prefixes, strict=True):
        labels = np.array([*(number[name] for name in file.label_names), -1], np.int32)
        yield from _Member(file, offset, prefix, labels).parts(manifest.rows_per_shard)
        offset += file.inputs


def _reporting(part: Part, progress: Callable[[int, int], None], total: int) -> Part:
    def read() -> Rows:
        rows = part.read()
        progress(rows.stop, total)
        return rows

    return part._replace(read=read)


def _layout(files: Sequence[FeatureFile], manifest: Manifest, folder: Path) -> h5py.VirtualLayout:
    """Where the features lie, by paths relative to the merged file, so that all can be moved together."""
    layout = h5py.VirtualLayout((sum(map(len, files)), manifest.width), files[0].features.dtype)
    done = 0
    for file in files:
        source = h5py.VirtualSource(
            _place(file, folder), "features", file.features.shape, file.features.dtype
        )
        if len(file):
            layout[done : done + len(file)] = source
        done += len(file)
    return layout


def _place(file: FeatureFile, folder: Path) -> str:
    return Path(os.path.relpath(file.path.resolve(), folder.resolve())).as_posix()


def _entry(file: FeatureFile, place: str) -> dict[str, Any]:
    return {
        "file": place,
        "fingerprint": file.fingerprint,
        "run": file.run,
        "inputs": file.inputs,
        "rows": len(file),
        "source": file.provenance.source,
        "source_manifest_sha256": file.provenance.source_manifest_sha256,
    }
