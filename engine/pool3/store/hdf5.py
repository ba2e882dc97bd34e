"""New HDF5 files, on disks that may be full.

HDF5 cannot close a file after the disk has refused what it held in its caches: it leaves a ruin behind, over which the
whole process may fall when it ends. So here it is never made to try.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py


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
            file.flush()
        except BaseException:
            _abandon(file)
            raise
        file.close()


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
