"""The writer: commits ranges durably, resumes, refuses what does not fit, and seals."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pool3.errors import OutputExistsError, StoreError
from pool3.store.folder import ShardFolder
from pool3.store.lock import FolderLock
from pool3.store.manifest import Manifest
from pool3.store.reader import open_features
from pool3.store.rows import Rows, check_rows
from pool3.store.schema import Provenance
from pool3.store.seal import PARTIAL, write_sealed
from pool3.store.shard import ShardReader, environments, total

_HDF5 = b"\x89HDF\r\n\x1a\n"
"""How every HDF5 file begins."""


class FeatureWriter:
    """Writes one feature file, range by range; a context manager. Made by `FeatureWriter.open`.

    Leaving the block keeps what was committed and seals nothing. A writer of an output that is sealed already
    has nothing pending; its `seal` returns the path.

    Attributes:
        path: the output.
        provenance: the recorded one: a resumed run keeps the batch size of the run that began the file.
        inputs: images in the source.
        rows_per_shard: images in a range, as the run that began the file chose.
        rows: count of rows committed so far.
        failures: count of failures committed so far.
    """

    path: Path
    provenance: Provenance
    inputs: int
    rows_per_shard: int
    rows: int
    failures: int

    def __init__(
        self, path: Path, manifest: Manifest, environment: dict[str, Any], *, rows: int, failures: int
    ) -> None:
        self.path = path
        self._environment = environment
        self.provenance = manifest.provenance
        self.inputs = manifest.inputs
        self.rows_per_shard = manifest.rows_per_shard
        self.rows, self.failures = rows, failures
        self._manifest = manifest
        self._folder = ShardFolder(path)
        self._pending: dict[tuple[int, int], None] = {}  # a set that keeps its order
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

        Raises:
            OutputExistsError: the output was made with other settings, each of which is named, or is no feature
                file; nothing was touched.
            OutputBusyError: another process is writing it.
            StoreError: what was committed is damaged, or nothing can be written there.
        """
        path = Path(path)
        new = Manifest(provenance, inputs, width, tuple(label_names), rows_per_shard)
        if path.is_dir():
            raise StoreError(f"{path} is a folder; name a file to write, such as {path / 'features.h5'}")
        folder = ShardFolder(path)
        if overwrite:
            _check_replaceable(path)
        with _writing(path):
            if path.exists() and not overwrite and not folder.path.exists():
                return cls._finished(path, new)
            lock = FolderLock.acquire(folder.path)
            try:
                if overwrite:
                    folder.clear()
                # Looked for once more: the owner of the lock before may just have sealed it. A file that these
                # shards did not make is one that they are to replace: it stays until they are sealed.
                elif path.exists() and _made_by(path, folder.manifest()):
                    writer = cls._finished(path, new)
                    # Shards beside a sealed file: the process died after the rename.
                    folder.remove()
                    lock.release()
                    return writer
                writer = cls._begun(path, new, folder)
            except BaseException:
                lock.release()
                raise
            writer._lock = lock
            return writer

    @classmethod
    def _begun(cls, path: Path, new: Manifest, folder: ShardFolder) -> FeatureWriter:
        """Make the writer of an output that is not sealed yet."""
        old = folder.manifest()
        if old is None:
            folder.begin(new)
        else:
            _refuse_other(path, "begun", old.differences(new))
        folder.remove_leftovers()
        path.with_name(path.name + PARTIAL).unlink(missing_ok=True)
        manifest = old or new
        committed = folder.committed(manifest)
        rows, failures = total(committed.values())
        writer = cls(path, manifest, new.provenance.environment(), rows=rows, failures=failures)
        writer._pending = dict.fromkeys(r for r in manifest.ranges() if r not in committed)
        return writer

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
            old = Manifest(
                file.provenance, file.inputs, file.features.shape[1], file.label_names, new.rows_per_shard
            )
            _refuse_other(path, "made", old.differences(new))
            counts = {"rows": len(file), "failures": file.inputs - len(file)}
            writer = cls(path, old, new.provenance.environment(), **counts)
        writer._sealed = True
        return writer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take no more rows, and let other processes write the output; what was committed stays."""
        self._closed = True
        if self._lock is not None:
            self._lock.release()

    def pending(self) -> list[tuple[int, int]]:
        """Index ranges [start, stop) that are not committed yet, ascending."""
        return list(self._pending)

    def commit(self, rows: Rows) -> None:
        """Commit one whole range of `pending`, in any order; durable when this returns.

        Raises:
            StoreError: the range is not pending, an index is not accounted for exactly once, an array has
                another shape or dtype than `Rows` says, or the disk does not take it. What was committed
                before is intact.
        """
        limits = (rows.start, rows.stop)
        if self._closed:
            raise StoreError(f"the writer of {self.path} is closed; open it again to commit")
        if limits not in self._pending:
            known = limits in self._manifest.ranges()
            raise StoreError(
                f"{self.path}: {rows.start} to {rows.stop} is "
                f"{'committed already' if known else 'no range of this output'}; commit the ranges of pending()"
            )
        check_rows(rows, width=self._manifest.width, classes=len(self._manifest.label_names))
        with _writing(self.path):
            self._folder.commit(rows, self._manifest, self._environment)
        del self._pending[limits]
        self.rows += len(rows.source_index)
        self.failures += len(rows.failures)

    def recorded(self, most: int = 16) -> list[tuple[int, bytes]]:
        """Source index and SHA-256 of the content of up to `most` rows written so far, spread evenly.

        What a caller compares with the source before it adds to the file.

        Raises:
            StoreError: what was written is damaged.
        """
        if self._sealed:
            with open_features(self.path) as file:
                return _spread(file.source_index, file.content_sha256, most)
        found: list[tuple[int, bytes]] = []
        committed = sorted(set(self._manifest.ranges()) - set(self._pending))
        few = [committed[i] for i in _evenly(len(committed), 4)]
        for limits in few:
            with ShardReader(self._folder.shard(limits)) as shard:
                found += _spread(shard.source_index(), shard.content_sha256(), most // len(few))
        return found

    def devices(self) -> list[str]:
        """What computed the rows written so far, in order of first use."""
        if self._sealed:
            with open_features(self.path) as file:
                parts = file.environments
        else:
            parts = environments(self._folder.committed(self._manifest).values())
        return list(dict.fromkeys(str(part["device"]) for part in parts))

    def seal(self) -> Path:
        """Turn the shards into one file, in one step, and remove them. Memory does not grow with the rows.

        Returns:
            The output's path.

        Raises:
            StoreError: not every input is accounted for, a shard is damaged, or the disk does not take the
                file. The shards are intact then.
        """
        if self._sealed:
            return self.path
        _check_replaceable(self.path)
        with _writing(self.path):
            # Counted anew from the disk: that is what will be copied.
            committed = self._folder.committed(self._manifest)
            rows, failures = total(committed.values())
            if rows + failures != self.inputs:
                raise StoreError(
                    f"{self.path} cannot be sealed: {self.inputs} inputs, but {rows} rows and {failures} failures; "
                    "run again to compute the rest"
                )
            shards = {self._folder.shard(limits): footer for limits, footer in committed.items()}
            write_sealed(self.path, self._manifest, shards)
            self._sealed = True
            self._folder.remove()
        return self.path


def _evenly(count: int, most: int) -> list[int]:
    """Up to `most` of the numbers below `count`, first and last among them."""
    return sorted({int(i) for i in np.linspace(0, count - 1, most)}) if count else []


def _spread(index: NDArray[np.int64], digests: NDArray[np.uint8], most: int) -> list[tuple[int, bytes]]:
    return [(int(index[row]), digests[row].tobytes()) for row in _evenly(len(index), most)]


def _check_replaceable(path: Path) -> None:
    """Raise unless `path` is free or an HDF5 file: no slip of the keyboard may cost an image."""
    try:
        with path.open("rb") as file:
            found = file.read(len(_HDF5))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}); name another output") from error
    if found != _HDF5:
        raise OutputExistsError(f"{path} is no feature file, so it was left alone; name another output")


def _made_by(path: Path, manifest: Manifest | None) -> bool:
    """Whether the file at `path` is what the shards were sealed into; so it is where there are no shards."""
    if manifest is None:
        return True
    try:
        with open_features(path) as file:
            return file.run == manifest.run
    except StoreError:
        return False


def _refuse_other(path: Path, done: str, found: list[str]) -> None:
    if found:
        raise OutputExistsError(
            f"{path} was {done} with other settings ({'; '.join(found)}), so it was left alone; "
            "name another output, or --overwrite to discard it"
        )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into an error that says so."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error.strerror or error}); "
            "mend this and run again: nothing that was committed is lost"
        ) from error
