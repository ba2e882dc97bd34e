"""Files that are whole or absent, whatever happens to the process or the power."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".pool3-tmp"
"""Suffix of a file that is being written; one that is found belongs to a process that died."""


@contextmanager
def written_aside(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write; at the end of the block it lies durably at `path`, after an exception nowhere.

    Raises:
        OSError: the file cannot be written.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def start_writing(file: BinaryIO) -> None:
    """Let the disk begin with what was written so far, where the system takes such advice; waits for nothing.

    Linux starts to write dirty pages that nobody is said to need; otherwise all of it would wait for the fsync.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sync_file(path: Path) -> None:
    """Return once the file's bytes are on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Return once the folder's names are on the disk. Windows has no such call, and keeps names in its journal."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write below `folder`.

    Raises:
        OSError: it cannot be asked.
    """
    return shutil.disk_usage(folder).free


def in_units(count: int) -> str:
    """Bytes for people: ``3.2 GiB``."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB")):
        if count >= unit:
            return f"{count / unit:,.1f} {name}"
    return f"{count / 1024:,.1f} KiB"
