"""New HDF5 files, on disks that may be full.

HDF5 cannot close a file after the disk has refused what it held in its caches: it leaves a ruin behind, over which the
whole process may fall when it ends. So here it is never made to try.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

_MIB = 1 << 20


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """Give a new HDF5 file to fill; at the end of the block it is written and closed.

    Datasets have to stay open until then: a dataset that is closed writes what it holds, and may not fail at it.

    Raises:
        OSError: it cannot be written; its space is free again, and a file of that name is of no use.
    """
    with _plain_errors():
        # w0=1: a chunk written in full is the first to leave the cache, since nobody comes back to it.
        file = h5py.File(path, "w", rdcc_w0=1)
        try:
            yield file
            _check_room(file, path)
            file.flush()
        except BaseException:
            _abandon(file)
            raise
        file.close()


def _check_room(file: h5py.File, path: Path) -> None:
    """Raise OSError unless the disk takes what HDF5 may hold: of its structure up to 32 MiB, and a MiB a dataset."""
    written, datasets = file.id.get_filesize(), list(file.values())
    structure = written - sum(dataset.id.get_storage_size() for dataset in datasets)
    held = min(32 * _MIB, structure) + sum(min(_MIB, dataset.nbytes) for dataset in datasets)
    with tempfile.TemporaryFile(dir=path.parent) as room:
        for start in range(0, held, _MIB):
            room.write(bytes(min(_MIB, held - start)))
        room.flush()
        # Files may be limited in size too (``ulimit -f``).
        room.truncate(written + held)


def _abandon(file: h5py.File) -> None:
    """Give the file's space back, and let nothing more be written; it is never closed."""
    if os.name == "nt":  # where descriptors are each library's own, and an open file cannot be removed
        file.close()
        return
    descriptor = file.id.get_vfd_handle()
    # HDF5 takes two files for one where their inode is the same, so this one must stay taken.
    os.ftruncate(os.dup(descriptor), 0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
    h5py.h5i.inc_ref(file.id)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn HDF5's account of what it was about to write, and where, into the system's own error."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        found = re.search(r"errno = (\d+)", str(error))
        if not found:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from error
