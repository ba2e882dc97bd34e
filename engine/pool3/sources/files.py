"""Image files on disk: a folder, a glob, or files named one by one."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from pool3.errors import SourceError, SourceNotFoundError
from pool3.sources import labels as labelling
from pool3.sources.base import Content, Source, Unreadable, check_size, check_unique
from pool3.sources.naming import escape, unescape
from pool3.sources.scanning import IMAGE_EXTENSIONS, Found, is_image, scan

READ_THREADS = 4
READ_AHEAD = 64
"""At most this many files are in flight or read ahead of the consumer, so memory stays flat."""

_WILD = frozenset("*?[")
# Opening a pipe would wait for a writer for ever; without waiting it opens, and is then refused.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class FileSource(Source):
    """Encoded image files below one root folder.

    Args:
        root: the folder that ids are relative to.
        ids: escaped POSIX paths of the files, relative to `root`; unique.
        description: what the user asked for.
        labelled: whether the first folder of an id is its label.
        ignored: count of files that are not images.

    Raises:
        SourceError: an id appears twice.
    """

    def __init__(
        self, root: Path, ids: Sequence[str], *, description: str, labelled: bool, ignored: int = 0
    ) -> None:
        check_unique(ids, description)
        self.description = description
        self.ids = ids
        label = labelling.from_first_folder(ids) if labelled else labelling.no_labels(len(ids))
        self.labels, self.label_names = label
        self.image_shape = None
        self.location = absolute(root)
        self.ignored = ignored

    def path(self, index: int) -> str:
        """Path of the image at `index`."""
        return f"{self.location}/{unescape(self.ids[index])}"

    def read(self, start: int, stop: int) -> Iterator[Content]:
        """Yield the files' bytes; `READ_THREADS` threads read up to `READ_AHEAD` files ahead."""
        return read_ahead(lambda index: read_file(self.path(index)), self._check_range(start, stop))


def read_ahead(read: Callable[[int], Content], indices: Sequence[int]) -> Iterator[Content]:
    """Yield what `read` returns for each index, in order; `READ_THREADS` threads are up to `READ_AHEAD` ahead."""
    pending: deque[Future[Content]] = deque()
    pool = ThreadPoolExecutor(min(READ_THREADS, len(indices)) or 1, "pool3-read")
    try:
        for index in indices:
            pending.append(pool.submit(read, index))
            if len(pending) == READ_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:  # also where the consumer stops early: nothing is left running
        pool.shutdown(wait=True, cancel_futures=True)


def read_file(path: str) -> bytes | Unreadable:
    """Read an image file whole; a pipe, a device or a file above `MAX_ENCODED_BYTES` is no image."""
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(status.st_mode):
                raise OSError("not a regular file")
            check_size(status.st_size)
            with io.FileIO(descriptor, closefd=False) as file:
                return file.readall()
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # the latter of a name that no file can have
        return Unreadable.of(error)


def absolute(path: Path) -> Path:
    """Make `path` absolute; links are resolved only where ``..`` would otherwise point elsewhere."""
    return path.resolve() if ".." in path.parts else path.absolute()


def open_folder(path: Path) -> FileSource:
    """Take all images in a folder and the folders below it; the first-level folders are the labels.

    Raises:
        SourceNotFoundError: the folder holds no image.
        SourceError: a folder in it cannot be read.
    """
    return _found(path, scan(path), escape(str(path)), f"the folder {path}")


def is_glob(text: str) -> bool:
    """Tell whether `text` has a wildcard; whether a path of that very name exists is not asked here."""
    return not _WILD.isdisjoint(text)


def open_glob(pattern: str) -> FileSource:
    """Take all images that match a glob; the root is the part before its first component with a wildcard.

    A glob selects files; ``**`` stands for any number of folders. A leading component that has a wildcard,
    but exists under just that name, is taken as a name. The first folder below the root is the label.

    Raises:
        SourceNotFoundError: the root does not exist, or no image matches.
        SourceError: a folder cannot be read.
    """
    parts = list(Path(pattern).parts)
    root = Path()
    while parts and (not is_glob(parts[0]) or (root / parts[0]).exists()):
        root /= parts.pop(0)
    if not root.is_dir():
        raise SourceNotFoundError(
            f"the folder {root}, where the glob {pattern} begins, does not exist: check it"
        )
    return _found(root, scan(root, parts), escape(pattern), f"the files that match {pattern}")


def _found(root: Path, found: Found, description: str, given: str) -> FileSource:
    if not found.ids:
        raise SourceNotFoundError(
            f"no image among {given}: looked for {' '.join(IMAGE_EXTENSIONS)} (in any case, not hidden) "
            f"and ignored {found.ignored} other files; a glob reaches into folders with **"
        )
    return FileSource(root, found.ids, description=description, labelled=True, ignored=found.ignored)


def open_files(paths: Sequence[Path]) -> FileSource:
    """Take existing image files, in the order given, without labels; ids are relative to their common parent.

    Raises:
        SourceError: a file is given twice, or its extension is none of `IMAGE_EXTENSIONS`.
    """
    files = [absolute(path) for path in paths]
    for file in files:
        if not is_image(file.name):
            raise SourceError(f"{file} is no image by its name: use one of {' '.join(IMAGE_EXTENSIONS)}")
    root = Path(os.path.commonpath([file.parent for file in files]))
    ids = [escape(file.relative_to(root).as_posix()) for file in files]
    return FileSource(root, ids, description=describe([escape(str(path)) for path in paths]), labelled=False)


def describe(given: Sequence[str]) -> str:
    """Name what was given, in full where short: a description has to fit into an HDF5 attribute."""
    if len(given) <= 8:
        return ", ".join(given)
    return f"{given[0]} … {given[-1]} ({len(given)} sources)"
