"""One writer at a time for an output: a lock on its folder of shards, which the system frees when its owner dies."""

from __future__ import annotations

import os
import sys
import weakref
from contextlib import suppress
from pathlib import Path

from pool3.errors import OutputBusyError, StoreError


class FolderLock:
    """Holds a folder for this process; made by `acquire`, given back by `release`.

    The folder itself is locked, so that no lock file stays behind. Windows cannot lock a folder: there, two runs at
    once on one output are not kept apart.
    """

    def __init__(self, descriptor: int | None) -> None:
        # A writer that is dropped without being closed gives its folder back too.
        self._close = None if descriptor is None else weakref.finalize(self, os.close, descriptor)

    @classmethod
    def acquire(cls, folder: Path) -> FolderLock:
        """Make the folder if need be, and lock it at once or not at all.

        Raises:
            OutputBusyError: another process holds it.
            StoreError: the file system has no locks.
            OSError: the folder cannot be made.
        """
        if sys.platform == "win32":
            folder.mkdir(parents=True, exist_ok=True)
            return cls(None)
        import fcntl

        while True:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(descriptor)
                raise OutputBusyError(
                    f"another process is writing {folder.name.removesuffix('.shards')} in {folder.parent}; "
                    "wait for it, or name another output"
                ) from error
            except OSError as error:
                os.close(descriptor)
                with suppress(OSError):  # it is empty where it was just made
                    folder.rmdir()
                raise StoreError(
                    f"the file system of {folder.parent} has no locks ({error.strerror}), so two runs could not be "
                    "kept apart; write to a local disk and copy the finished file"
                ) from error
            # The owner before may have sealed and removed the folder in between: then this is another one by now.
            try:
                if os.path.samestat(os.fstat(descriptor), folder.stat()):
                    return cls(descriptor)
            except FileNotFoundError:
                os.close(descriptor)
                continue
            os.close(descriptor)

    def release(self) -> None:
        """Give the folder back; a second call does nothing."""
        if self._close is not None:
            self._close()
