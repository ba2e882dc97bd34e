"""From what a user names to a source of images."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool3.errors import SourceError, SourceNotFoundError, SpecError
from pool3.sources.archives import ARCHIVE_EXTENSIONS, ArchiveSource
from pool3.sources.arrays import ArraySource, open_npy, open_npz
from pool3.sources.base import Source
from pool3.sources.cifar import BATCHES, CifarSource, is_cifar_archive, is_cifar_folder
from pool3.sources.combine import ConcatSource, LimitSource
from pool3.sources.digits import DIGITS, open_digits
from pool3.sources.files import is_glob, open_files, open_folder, open_glob
from pool3.sources.scanning import IMAGE_EXTENSIONS, is_image

One = str | os.PathLike[str] | NDArray[np.uint8] | Source


def open_source(
    source: One | Sequence[One], *, labels: ArrayLike | None = None, limit: int | None = None
) -> Source:
    """Open what the user names as a source of images.

    - A folder: the images in it and below, labelled by its first-level folders (`open_folder`).
    - A glob, quoted: the images that match it (`open_glob`). An existing path with ``*`` or ``[`` in it is a
      path.
    - An image file; several become one source without labels, in the order given (`open_files`).
    - CIFAR-10's python batches: the folder, one batch file, the tar archive (`CifarSource`).
    - A ``.npy`` or ``.npz`` file, or an array (`open_npy`, `open_npz`, `ArraySource`).
    - A tar or zip archive of images (`ArchiveSource`).
    - ``sklearn:digits``, the images that scikit-learn ships (`open_digits`).
    - A `Source`, which is returned as it is.
    - A sequence of any of these: one after the other (`ConcatSource`).

    Args:
        source: as above.
        labels: shape (N,), integers or strings, for a single array or array file of N images.
        limit: take only the first images, this many; at least 1.

    Raises:
        SourceNotFoundError: it does not exist, or holds no image.
        SourceError: it exists but cannot be read, or is of no kind that pool3 knows.
        SpecError: `labels` for anything but an array, or a limit below 1.
    """
    if isinstance(source, str | os.PathLike | np.ndarray | Source):
        opened = _open_one(source, labels)
    else:
        opened = _open_several(list(source), labels)
    if limit is None or (limit >= len(opened) and limit >= 1):
        return opened
    return LimitSource(opened, limit)


def _open_several(sources: list[One], labels: ArrayLike | None) -> Source:
    if len(sources) == 1:
        return _open_one(sources[0], labels)
    _refuse_labels(labels, "several sources")
    opened: list[Source] = []
    for files, group in itertools.groupby(sources, key=_is_image_file):
        if files:
            opened.append(open_files([Path(str(path)) for path in group]))
        else:
            opened.extend(_open_one(one, None) for one in group)
    return opened[0] if len(opened) == 1 else ConcatSource(opened)


def _is_image_file(source: One) -> bool:
    if not isinstance(source, str | os.PathLike):
        return False
    path = Path(source)
    return is_image(path.name) and path.is_file()


def _open_one(source: One, labels: ArrayLike | None) -> Source:
    if isinstance(source, np.ndarray):
        return ArraySource(source, labels=labels)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.is_file() and path.suffix.lower() in (".npy", ".npz"):
            return (open_npy if path.suffix.lower() == ".npy" else open_npz)(path, labels)
        _refuse_labels(labels, str(source))
        return _open_path(os.fspath(source), path)
    if isinstance(source, Source):
        _refuse_labels(labels, source.description)
        return source
    raise SourceError(
        f"a source of type {type(source).__name__} was given: name a path, an array or a Source"
    )


def _refuse_labels(labels: ArrayLike | None, given: str) -> None:
    if labels is not None:
        raise SpecError(f"labels were given for {given}: they go with a single array or array file only")


def _open_path(text: str, path: Path) -> Source:
    if not text:  # an unset variable of a shell must not mean the current folder
        raise SourceNotFoundError("an empty name was given as a source: name a folder, a file or a glob")
    if path.is_dir():
        return CifarSource(path) if is_cifar_folder(path) else open_folder(path)
    if path.exists():
        return _open_file(path)
    if text == DIGITS:
        return open_digits()
    if is_glob(text):
        return open_glob(text)
    if path.is_symlink():
        raise SourceNotFoundError(f"{text} is a link to something that does not exist: mend the link")
    raise SourceNotFoundError(
        f"{text!r} does not exist: check the path (a glob has to be quoted; {DIGITS} is the one built-in set)"
    )


def _open_file(path: Path) -> Source:
    name = path.name.lower()
    if is_image(name):
        return open_files([path])
    if path.name in BATCHES:
        return CifarSource(path)
    if name.endswith(".zip"):
        return ArchiveSource(path)
    if name.endswith(ARCHIVE_EXTENSIONS):
        return CifarSource(path) if is_cifar_archive(path) else ArchiveSource(path)
    raise SourceError(
        f"{path} is of no kind that pool3 reads: give a folder, a quoted glob, images "
        f"({' '.join(IMAGE_EXTENSIONS)}), arrays (.npy .npz), an archive ({' '.join(ARCHIVE_EXTENSIONS)}), "
        f"a batch of CIFAR-10 ({' '.join(BATCHES)}) or {DIGITS}"
    )
