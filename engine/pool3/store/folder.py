"""The folder of committed shards beside an unfinished output: ``OUT.h5.shards``.

It holds ``manifest.json``, one file a committed range, named by the range, and temporary files while a process
writes. The names are the journal: a range is committed if and only if its file exists. A run that was interrupted
commits the part of its range that was done, so a range may be spread over several files.
"""

from __future__ import annotations

import re
from pathlib import Path

from pool3.errors import StoreError
from pool3.store.disk import TEMPORARY, sync_folder
from pool3.store.environments import Environments
from pool3.store.manifest import Manifest
from pool3.store.rows import Rows
from pool3.store.shard import Footer, ShardReader, write_shard
from pool3.store.timing import Timing

_NAME = re.compile(r"(\d{12,})-(\d{12,})\.shard")
_MANIFEST = "manifest.json"


class ShardFolder:
    """The shards of one output.

    Attributes:
        path: the folder, which need not exist.
    """

    path: Path

    def __init__(self, output: Path) -> None:
        self.path = output.with_name(output.name + ".shards")

    def manifest(self) -> Manifest | None:
        """What the output will be; None where no run has begun it.

        Raises:
            StoreError: the manifest is damaged, or the folder holds shards without one.
        """
        path = self.path / _MANIFEST
        if path.exists():
            return Manifest.read(path)
        if self._shards():
            raise StoreError(
                f"{self.path} holds shards without a manifest, so nobody can say what they are; "
                "start again with --overwrite"
            )
        return None

    def begin(self, manifest: Manifest) -> None:
        """Make the folder and write the manifest; durable on return.

        Raises:
            OSError: it cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        manifest.write(self.path / _MANIFEST)
        sync_folder(self.path.parent)

    def committed(self, manifest: Manifest) -> dict[tuple[int, int], Footer]:
        """Range → footer of every committed shard, ascending.

        Raises:
            StoreError: a shard is damaged, not one of this manifest's, in no range of its, or overlaps another.
        """
        found = {}
        end = 0
        for limits, path in sorted(self._shards().items()):
            with ShardReader(path) as shard:
                footer = shard.footer
            start, stop = limits
            inside = end <= start < stop <= manifest.range_of(start)[1]
            if footer.run != manifest.run or (footer.start, footer.stop) != limits or not inside:
                raise StoreError(
                    f"the shard {path} belongs to another run; delete it and run again, "
                    "and its range is computed anew"
                )
            found[limits] = footer
            end = stop
        return found

    def shard(self, limits: tuple[int, int]) -> Path:
        """Where the shard of a range lies."""
        start, stop = limits
        return self.path / f"{start:012}-{stop:012}.shard"

    def commit(self, rows: Rows, manifest: Manifest, environments: Environments, timing: Timing) -> None:
        """Write the shard of `rows`, or replace it in one step; durable on return.

        Raises:
            OSError: it cannot be written.
        """
        write_shard(self.shard((rows.start, rows.stop)), rows, manifest.run, environments, timing)

    def read(self, limits: tuple[int, int]) -> Rows:
        """Read a whole shard.

        Raises:
            StoreError: it is damaged.
        """
        with ShardReader(self.shard(limits)) as shard:
            return shard.rows()

    def remove_leftovers(self) -> None:
        """Remove the temporary files of processes that died."""
        for path in self.path.glob(f"*{TEMPORARY}"):
            path.unlink()

    def clear(self) -> None:
        """Remove what pool3 wrote in the folder.

        The manifest goes last: killed in between, what is left is still a run that can be resumed.
        """
        self.remove_leftovers()
        for path in self._shards().values():
            path.unlink()
        (self.path / _MANIFEST).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove what pool3 wrote, and the folder where nothing else is in it."""
        if not self.path.is_dir():
            return
        self.clear()
        self.remove_empty()
        sync_folder(self.path.parent)

    def remove_empty(self) -> None:
        """Remove the folder where nothing is in it."""
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def size(self) -> int:
        """Bytes on disk of what is committed."""
        return sum(path.stat().st_size for path in self._shards().values())

    def _shards(self) -> dict[tuple[int, int], Path]:
        if not self.path.is_dir():
            return {}
        names = ((path, _NAME.fullmatch(path.name)) for path in self.path.iterdir())
        return {(int(match[1]), int(match[2])): path for path, match in names if match}
