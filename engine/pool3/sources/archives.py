"""Images in a tar or zip archive, read from where they are: nothing is ever extracted to disk."""

from __future__ import annotations

import os
import stat
import threading
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from pool3.errors import SourceError, SourceNotFoundError
from pool3.sources import labels as labelling
from pool3.sources.base import Content, Source, Unreadable, check_size
from pool3.sources.files import absolute
from pool3.sources.naming import escape
from pool3.sources.scanning import IMAGE_EXTENSIONS, is_hidden, is_image
from pool3.sources.tars import DAMAGE, open_stream, open_tar

ARCHIVE_EXTENSIONS = (
    ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".zip",
)  # fmt: skip
_ZIP_DAMAGE = (*DAMAGE, zipfile.BadZipFile, zlib.error, RuntimeError)  # NotImplementedError is a RuntimeError


class ArchiveSource(Source):
    """The images of a tar (plain, gzip, bzip2, xz) or zip archive, in the order of the archive.

    Ids are the members' names, escaped, without ``.`` components; absolute names and ``..`` are kept, since
    they are names only. Where a name appears twice the later member counts, as it does when an archive is
    extracted. Hidden members, folders, links and devices are skipped.

    The label is the first folder of a name. Where all images lie in one top folder, and each in a folder
    within it, that top folder is what the archive was made from, and the folder within is the label:
    ``photos/cat/1.jpg``, ``photos/dog/2.jpg`` are labelled cat and dog; ``train/cat/1.jpg``,
    ``test/dog/2.jpg`` train and test.

    Plain tar and zip files are read at random. A compressed tar is decompressed once to list it; ascending
    reads then go through it once more, and a step back begins anew. Memory: the ids and 16 bytes (zip: about
    600) a member. A member above `MAX_ENCODED_BYTES`, an encrypted one, or one that is damaged is
    `Unreadable`.

    Args:
        path: the archive; its kind is told by its first bytes.
        description: what the user asked for; the path where None.

    Raises:
        SourceError: the archive cannot be listed.
        SourceNotFoundError: it holds no image.
    """

    def __init__(self, path: str | os.PathLike[str], *, description: str | None = None) -> None:
        place = absolute(Path(path))
        self.description = escape(str(path)) if description is None else description
        self._archive: _Archive = _Zip(place) if _is_zip(place) else _Tar(place)
        self._lock = threading.Lock()
        self.ids = self._archive.ids
        self.ignored = self._archive.ignored
        if not self.ids:
            raise SourceNotFoundError(
                f"the archive {path} holds no image: looked for {' '.join(IMAGE_EXTENSIONS)} "
                f"(in any case, not hidden) and ignored {self.ignored} other members"
            )
        self.labels, self.label_names = _labels(self.ids)
        self.image_shape = None
        self.location = place

    def read(self, start: int, stop: int) -> Iterator[Content]:
        """Yield the members' bytes. The archive stays open until its last image is read."""
        return self._read(self._check_range(start, stop))

    def _read(self, indices: range) -> Iterator[Content]:
        for index in indices:
            with self._lock:
                content = self._archive.fetch(index)
                if index == len(self) - 1:
                    self._archive.close()  # a thousand archives in a row are not a thousand open files
            yield content


def _labels(ids: list[str]) -> labelling.Labels:
    folders = [[part for part in id_.split("/") if part not in ("", "..")][:-1] for id_ in ids]
    tops = {parts[0] if parts else None for parts in folders}
    level = 1 if len(tops) == 1 and all(len(parts) >= 2 for parts in folders) else 0
    return labelling.from_names([parts[level] if len(parts) > level else None for parts in folders])


def _clean(name: str) -> str:
    """Drop empty and ``.`` components, which do not tell one member from another."""
    root = "/" if name.startswith("/") else ""
    return root + "/".join(part for part in name.split("/") if part not in ("", "."))


def _is_zip(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError as error:
        raise SourceError(
            f"the archive {path} cannot be opened ({error.strerror}): check the file"
        ) from error


class _Archive(ABC):
    """Lists an archive's images once, then fetches them by index."""

    ids: list[str]
    ignored: int

    @abstractmethod
    def fetch(self, index: int) -> bytes | Unreadable:
        """Read one image."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file; the next `fetch` opens it again."""


class _Tar(_Archive):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: IO[bytes] | None = None
        self.ignored = 0
        places: dict[str, tuple[int, int]] = {}
        with open_tar(path) as members:
            for member, _ in members:
                name = _clean(member.name)
                if member.isdir() or any(map(is_hidden, name.split("/"))):
                    continue
                if not (member.isreg() and is_image(name)):
                    self.ignored += 1
                    continue
                id_ = escape(name)
                self.ignored += (
                    places.pop(id_, None) is not None
                )  # popped, so that the later one takes a later place
                places[id_] = (-1 if member.issparse() else member.offset_data, member.size)
        self.ids = list(places)
        self._places = np.array(list(places.values()), np.int64).reshape(-1, 2)

    def fetch(self, index: int) -> bytes | Unreadable:
        offset, size = (int(value) for value in self._places[index])
        try:
            check_size(size)
            if offset < 0:
                raise OSError("stored as a sparse file")
            if self._stream is None:
                self._stream = open_stream(self._path)
            self._stream.seek(offset)
            content = self._stream.read(size)
            if len(content) != size:
                raise EOFError("the archive ends within this member")
        except DAMAGE as error:
            self.close()  # a decompressor that failed is of no further use
            return Unreadable.of(error)
        return content

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class _Zip(_Archive):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._zip: zipfile.ZipFile | None = None
        self.ignored = 0
        entries: dict[str, zipfile.ZipInfo] = {}
        try:
            with zipfile.ZipFile(path) as archive:
                listed = archive.infolist()
        except _ZIP_DAMAGE as error:
            raise SourceError(
                f"{path} cannot be listed as a zip file ({error}): it is damaged or truncated: fetch it again"
            ) from error
        for entry in listed:
            name = _clean(entry.filename)
            if entry.filename.endswith("/") or any(map(is_hidden, name.split("/"))):
                continue
            if stat.S_ISLNK(entry.external_attr >> 16) or not is_image(name):
                self.ignored += 1
                continue
            id_ = escape(name)
            self.ignored += entries.pop(id_, None) is not None
            entries[id_] = entry
        self.ids = list(entries)
        self._entries = list(entries.values())

    def fetch(self, index: int) -> bytes | Unreadable:
        entry = self._entries[index]
        try:
            check_size(entry.file_size)
            if self._zip is None:
                self._zip = zipfile.ZipFile(self._path)
            return self._zip.read(entry)
        except _ZIP_DAMAGE as error:
            return Unreadable.of(error)

    def close(self) -> None:
        if self._zip is not None:
            self._zip.close()
            self._zip = None
