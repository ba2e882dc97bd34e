"""The writer: commits ranges durably, resumes, refuses what does not fit, and seals."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pool3.errors import OutputExistsError, StoreError
from pool3.store.environments import Environments, clipped, joined, repainted, spanning
from pool3.store.folder import ShardFolder
from pool3.store.guards import check_replaceable, check_space, refuse_other, writing
from pool3.store.lock import FolderLock
from pool3.store.manifest import Manifest
from pool3.store.reader import FeatureFile, open_features
from pool3.store.rows import Rows, check_rows
from pool3.store.schema import Provenance
from pool3.store.seal import PARTIAL, Part, parts_of, write_sealed
from pool3.store.shard import Footer, ShardReader
from pool3.store.timing import Timing, summed


class FeatureWriter:
    """Writes one feature file, range by range; a context manager. Made by `FeatureWriter.open`.

    Leaving the block keeps what was committed and seals nothing. A writer of an output that is sealed already
    has nothing pending; its `seal` returns the path.

    Attributes:
        path: the output.
        provenance: the recorded one: a resumed run keeps the batch size of the run that began the file.
        inputs: images in the source.
        rows_per_shard: images in a range, as the run that began the file chose.
        batch_size: what rows are computed with from now on; it enters ``/environments``.
        rows: count of rows committed so far.
        failures: count of failures committed so far.
        spent: asked at each commit and within the seal for the time since it was last asked; nothing by default.
    """

    path: Path
    provenance: Provenance
    inputs: int
    rows_per_shard: int
    batch_size: int
    rows: int
    failures: int
    spent: Callable[[], Timing]

    def __init__(
        self, path: Path, manifest: Manifest, provenance: Provenance, base: FeatureFile | None = None
    ) -> None:
        self.path = path
        self.provenance = manifest.provenance
        self.batch_size = self.provenance.batch_size
        self._run_environment = provenance.environment()
        self.inputs = manifest.inputs
        self.rows_per_shard = manifest.rows_per_shard
        self.rows = self.failures = 0
        self.spent = Timing
        self._manifest = manifest
        self._folder = ShardFolder(path)
        self._base = base
        self._committed: dict[tuple[int, int], tuple[int, int]] = {}  # range → its rows and failures
        self._pending: dict[tuple[int, int], list[tuple[int, int]]] = {}  # range → its parts that are missing
        self._lock: FolderLock | None = None
        self._sealed = False
        self._closed = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        provenance: Provenance,
        *,
        inputs: int,
        width: int,
        label_names: Sequence[str],
        rows_per_shard: int,
        overwrite: bool = False,
        retry_failed: bool = False,
    ) -> FeatureWriter:
        """Begin an output, or go on with one of the same settings.

        Args:
            path: the HDF5 file; folders above it are made.
            provenance: of this run. A run may go on where all of `IDENTITY` agrees.
            inputs: images in the source; must agree.
            width: numbers a row, D; must agree.
            label_names: the classes' names; must agree.
            rows_per_shard: images in a range; where the output was begun already, its own count holds.
            overwrite: begin anew whatever made an existing output; a finished one is replaced at the seal.
            retry_failed: open a sealed file for its failures to be tried again; it is replaced at the seal.

        Raises:
            OutputExistsError: the output was made with other settings, each of which is named, or is no feature
                file; nothing was touched.
            OutputBusyError: another process is writing it.
            StoreError: what was committed is damaged, there is too little space, or nothing can be written there.
        """
        path = Path(path)
        new = Manifest(provenance, inputs, width, tuple(label_names), rows_per_shard)
        if path.is_dir():
            raise StoreError(f"{path} is a folder; name a file to write, such as {path / 'features.h5'}")
        folder = ShardFolder(path)
        if overwrite:
            check_replaceable(path)
        with writing(path):
            if path.exists() and not overwrite and not folder.path.exists():
                writer = cls._finished(path, new)
                if not (retry_failed and writer.failures):
                    return writer
            lock = FolderLock.acquire(folder.path)
            try:
                writer = cls._locked(path, new, folder, overwrite=overwrite, retry_failed=retry_failed)
            except BaseException:
                folder.remove_empty()
                lock.release()
                raise
            writer._lock = lock
            if writer._sealed:
                writer.close()
            return writer

    @classmethod
    def _locked(
        cls, path: Path, new: Manifest, folder: ShardFolder, *, overwrite: bool, retry_failed: bool
    ) -> FeatureWriter:
        """Make the writer while nobody else can."""
        if overwrite:
            folder.clear()
        elif path.exists():
            # Looked for once more: the owner of the lock before may just have sealed it.
            old = folder.manifest()
            run = _run(path)
            if old is None or run == old.run:
                writer = cls._finished(path, new)
                # Shards beside a sealed file: the process died after the rename.
                if retry_failed and writer.failures:
                    folder.clear()
                    return cls._retrying(path, new, folder)
                folder.remove()
                return writer
            if run == old.base:
                return cls._retrying(path, new, folder) if retry_failed else cls._finished(path, new)
            # A file that these shards did not make is one that they are to replace: it stays until they are sealed.
        return cls._begun(path, new, folder)

    @classmethod
    def _begun(cls, path: Path, new: Manifest, folder: ShardFolder) -> FeatureWriter:
        """Make the writer of an output that is not sealed yet."""
        old = folder.manifest()
        if old is not None:
            if old.base:
                raise OutputExistsError(
                    f"{folder.path} holds failures that were tried again for a {path.name} that is gone; "
                    "put it back, or --overwrite to discard them"
                )
            refuse_other(path, "begun", old.differences(new))
        manifest = old or new
        committed = folder.committed(manifest)
        inputs = manifest.inputs - sum(stop - start for start, stop in committed)
        check_space(path, shards=inputs * manifest.image_bytes, sealed=manifest.inputs * manifest.image_bytes)
        if old is None:
            folder.begin(new)
        writer = cls(path, manifest, new.provenance)
        writer._resume(committed)
        return writer

    @classmethod
    def _retrying(cls, path: Path, new: Manifest, folder: ShardFolder) -> FeatureWriter:
        """Make the writer of a sealed output whose failures are tried again."""
        base = open_features(path)
        try:
            sealed = _manifest_of(base, new.rows_per_shard)
            refuse_other(path, "made", sealed.differences(new))
            # Compared with their digest, before they are copied into a file with a digest of its own.
            _ = base.ids
            old = folder.manifest()
            manifest = old or replace(sealed, base=base.run)
            most = min(base.inputs, (base.inputs - len(base)) * manifest.rows_per_shard)
            check_space(
                path, shards=most * manifest.image_bytes, sealed=manifest.inputs * manifest.image_bytes
            )
            if old is None:
                folder.begin(manifest)
            writer = cls(path, manifest, new.provenance, base)
            writer.rows, writer.failures = len(base), base.inputs - len(base)
            writer._resume(folder.committed(manifest))
            return writer
        except BaseException:
            base.close()
            raise

    @classmethod
    def _finished(cls, path: Path, new: Manifest) -> FeatureWriter:
        """Make the writer of an output that is sealed already."""
        try:
            file = open_features(path)
        except StoreError as error:
            raise OutputExistsError(
                f"{error}, so it was left alone; name another output, or --overwrite to discard it"
            ) from error
        with file:
            old = _manifest_of(file, new.rows_per_shard)
            refuse_other(path, "made", old.differences(new))
            writer = cls(path, old, new.provenance)
            writer.rows, writer.failures = len(file), file.inputs - len(file)
        writer._sealed = True
        return writer

    def _resume(self, committed: dict[tuple[int, int], Footer]) -> None:
        """Take over what earlier runs committed, and remove what they left half written."""
        self._folder.remove_leftovers()
        self.path.with_name(self.path.name + PARTIAL).unlink(missing_ok=True)
        # A retry has nothing pending: what it does not try again is in the file that it mends.
        self._pending = {} if self._base else {limits: [limits] for limits in self._manifest.ranges()}
        for limits, footer in committed.items():
            self._account(limits, footer.rows, footer.failures)

    def _account(self, limits: tuple[int, int], rows: int, failures: int) -> None:
        """Count a committed shard, which replaces what was counted for its range before."""
        if limits in self._committed:
            before = self._committed[limits]
        elif self._base:
            before = self._base.counts(*limits)
        else:
            before = (0, 0)
            whole = self._manifest.range_of(limits[0])
            self._pending[whole] = list(_without(self._pending[whole], *limits))
        self._committed[limits] = (rows, failures)
        self.rows += rows - before[0]
        self.failures += failures - before[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take no more rows, and let other processes write the output; what was committed stays."""
        self._closed = True
        if self._base is not None:
            self._base.close()
        if self._lock is not None:
            self._lock.release()

    def pending(self) -> list[tuple[int, int]]:
        """Index ranges [start, stop) that are not committed yet, ascending."""
        return [gap for gaps in self._pending.values() for gap in gaps]

    def commit(self, rows: Rows) -> None:
        """Commit one range of `pending`, or a part of one, in any order; durable when this returns.

        Raises:
            StoreError: the range is not pending, an index is not accounted for exactly once, an array has
                another shape or dtype than `Rows` says, or the disk does not take it. What was committed
                before is intact.
        """
        self._check_open()
        start, stop = limits = (rows.start, rows.stop)
        gaps = self._pending.get(self._manifest.range_of(start), [])
        if not any(first <= start < stop <= last for first, last in gaps):
            raise StoreError(
                f"{self.path}: {start} to {stop} is not pending; commit the ranges of pending(), or parts of them"
            )
        self._write(rows, spanning(start, stop, self._environment()), self._timing(stop - start))
        self._account(limits, len(rows.source_index), len(rows.failures))

    def failed(self) -> list[tuple[tuple[int, int], NDArray[np.int64]]]:
        """Committed ranges with failures, and the indices that failed: what `amend` takes.

        What an interrupted retry had tried already, and failed again, is among them.

        Raises:
            StoreError: what was written is damaged.
        """
        found: dict[tuple[int, int], list[int]] = {}
        if self._base:
            for failure in self._base.failures:
                found.setdefault(self._manifest.range_of(failure.index), []).append(failure.index)
        if not self._sealed:
            for limits, (_, failures) in self._committed.items():
                with ShardReader(self._folder.shard(limits)) as shard:
                    found[limits] = [failure.index for failure in shard.failures()] if failures else []
        return [(limits, np.array(found[limits], np.int64)) for limits in sorted(found) if found[limits]]

    def amend(self, patch: Rows) -> None:
        """Put what became of failures that were tried again in their places; durable when this returns.

        Args:
            patch: of a range of `failed`, with some or all of its indices and no others, as rows or failures.

        Raises:
            StoreError: as for `commit`; or an index of the patch did not fail.
        """
        self._check_open()
        limits = (patch.start, patch.stop)
        if self._base and limits not in self._committed:
            before, environments = self._base.rows(*limits), clipped(self._base.environments, *limits)
            timing = Timing()
        else:
            with ShardReader(self._folder.shard(limits)) as shard:
                before, environments, timing = shard.rows(), shard.footer.environments, shard.footer.timing
        rows = before.amended(patch)
        indices = patch.source_index.tolist()
        timing += self._timing(len(indices) + len(patch.failures))
        self._write(rows, repainted(environments, indices, self._environment()), timing)
        self._account(limits, len(rows.source_index), len(rows.failures))

    def _environment(self) -> dict[str, object]:
        """What computes the rows that are committed now."""
        return self._run_environment | {"batch_size": self.batch_size}

    def _timing(self, images: int) -> Timing:
        """What these images took: all that was spent since the last commit; nothing where nobody measures it."""
        spent = self.spent()
        return Timing(images) + spent if spent.seconds else Timing()

    def _write(self, rows: Rows, environments: Environments, timing: Timing) -> None:
        manifest = self._manifest
        check_rows(
            rows, width=manifest.width, dtype=self.provenance.storage, classes=len(manifest.label_names)
        )
        with writing(self.path):
            self._folder.commit(rows, manifest, environments, timing)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the writer of {self.path} is closed; open it again to commit")

    def recorded(self, most: int = 16) -> list[tuple[int, bytes]]:
        """Source index and SHA-256 of the content of up to `most` rows written so far, spread evenly.

        What a caller compares with the source before it adds to the file.

        Raises:
            StoreError: what was written is damaged.
        """
        if self._sealed or self._base:
            with open_features(self.path) as file:
                return _spread(file.source_index, file.content_sha256, most)
        found: list[tuple[int, bytes]] = []
        committed = sorted(self._committed)
        few = [committed[i] for i in _evenly(len(committed), 4)]
        for limits in few:
            with ShardReader(self._folder.shard(limits)) as shard:
                found += _spread(shard.source_index(), shard.content_sha256(), most // len(few))
        return found

    def devices(self) -> list[str]:
        """What computed the rows written so far, in order of first use."""
        if self._sealed or self._base:
            with open_features(self.path) as file:
                entries = file.environments
        else:
            entries = []
        if not self._sealed:
            footers = self._folder.committed(self._manifest).values()
            entries = entries + joined(footer.environments for footer in footers)
        return list(dict.fromkeys(str(entry["device"]) for entry in entries))

    def seal(self) -> Path:
        """Turn the shards into one file, in one step, and remove them. Memory does not grow with the rows.

        Where failures were tried again and all failed as before, the sealed file stays as it is.

        Returns:
            The output's path.

        Raises:
            StoreError: not every input is accounted for, a shard is damaged, or the disk does not take the
                file. The shards are intact then.
        """
        if self._sealed:
            return self.path
        check_replaceable(self.path)
        with writing(self.path):
            # Counted anew from the disk: that is what will be copied.
            committed = self._folder.committed(self._manifest)
            if not (self._base and self._same_failures(self._base, committed)):
                write_sealed(
                    self.path, self._manifest, self._parts(committed), timing=lambda: self._timed(committed)
                )
            self._sealed = True
            self._folder.remove()
        return self.path

    def _same_failures(self, base: FeatureFile, committed: Iterable[tuple[int, int]]) -> bool:
        return all(self._folder.read(limits).failures == base.rows(*limits).failures for limits in committed)

    def _timed(self, committed: dict[tuple[int, int], Footer]) -> Timing:
        """What all of it took up to now; nothing where nothing was recorded."""
        before = self._base.timing if self._base else Timing()
        known = summed([before, *(footer.timing for footer in committed.values())])
        return known + self.spent() if known else known

    def _parts(self, committed: dict[tuple[int, int], Footer]) -> list[Part]:
        """The ranges that are to be sealed: the shards, and between them those of the file that they mend."""
        parts = {
            limits: Part(
                footer.rows, footer.failures, footer.environments, partial(self._folder.read, limits)
            )
            for limits, footer in committed.items()
        }
        if self._base:
            ranges = [limits for limits in self._manifest.ranges() if limits not in committed]
            parts |= zip(ranges, parts_of(self._base, ranges), strict=True)
        return [parts[limits] for limits in sorted(parts)]


def _evenly(count: int, most: int) -> list[int]:
    """Up to `most` of the numbers below `count`, first and last among them."""
    return sorted({int(i) for i in np.linspace(0, count - 1, most)}) if count else []


def _spread(index: NDArray[np.int64], digests: NDArray[np.uint8], most: int) -> list[tuple[int, bytes]]:
    return [(int(index[row]), digests[row].tobytes()) for row in _evenly(len(index), most)]


def _run(path: Path) -> str | None:
    """`run` of a sealed file; None where it is damaged."""
    try:
        with open_features(path) as file:
            return file.run
    except StoreError:
        return None


def _manifest_of(file: FeatureFile, rows_per_shard: int) -> Manifest:
    """The settings of a sealed file."""
    return Manifest(file.provenance, file.inputs, file.features.shape[1], file.label_names, rows_per_shard)


def _without(gaps: Iterable[tuple[int, int]], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The ranges less [start, stop)."""
    for first, last in gaps:
        yield from ((a, b) for a, b in ((first, min(last, start)), (max(first, stop), last)) if a < b)
