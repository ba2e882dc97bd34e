"""What every source of images offers: a countable, ordered stream of images with ids and labels."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pool3.errors import SourceError

NO_LABEL = -1

MAX_ENCODED_BYTES = 256 * 2**20
"""An encoded image above this size, 256 MiB, is `Unreadable`: it is no image, or meant to fill the memory."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands in for an image whose bytes could not be read.

    Attributes:
        error: class name of the exception, such as ``PermissionError``.
        message: what went wrong, in valid UTF-8 and without paths of this machine.
    """

    error: str
    message: str

    @classmethod
    def of(cls, error: Exception) -> Unreadable:
        """Record `error`: an `OSError` by its reason alone, since its text names the path."""
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return cls(type(error).__name__, text.encode("utf-8", "backslashreplace").decode())


Content = bytes | NDArray[np.uint8] | Unreadable
"""One image as a source yields it: an encoded file, pixels of shape (H, W, 3), or the reason why neither."""


class Source(ABC):
    """An ordered, countable set of images. Position in the source is the `source_index` of the feature file.

    Attributes:
        description: what the user asked for, as recorded in the feature file.
        ids: one id an image, in the source's order; unique. POSIX paths relative to the source's root where
            images are files, reversibly escaped (see `pool3.sources.naming`).
        labels: (N,) int32 indices into `label_names`; `NO_LABEL` (-1) where an image has none.
        label_names: the classes' names; empty where the source has no labels.
        image_shape: (height, width) where all images are arrays of that one size, else None.
        location: absolute path of the folder (or archive, or file) that the ids are relative to, else None.
        ignored: count of visible files that were passed over because they are not images, for a message.
    """

    description: str
    ids: Sequence[str]
    labels: NDArray[np.int32]
    label_names: tuple[str, ...]
    image_shape: tuple[int, int] | None
    location: Path | None = None
    ignored: int = 0

    def __len__(self) -> int:
        """Count of images."""
        return len(self.ids)

    @abstractmethod
    def read(self, start: int, stop: int) -> Iterator[Content]:
        """Yield exactly ``stop - start`` contents, in order, of the images start, start + 1, … stop - 1.

        Any range may be read at any time; ascending ranges are the quick case, and reads may overlap, also from
        several threads. An image that cannot be read is yielded as `Unreadable`; it never ends the iteration.
        Arrays may be views of the source's own memory: do not write into them.

        Raises:
            SourceError: the range is not within 0 … N; raised by the call, before anything is yielded.
        """

    def _check_range(self, start: int, stop: int) -> range:
        """Return the range as indices, or raise the `SourceError` that `read` promises."""
        if not 0 <= start <= stop <= len(self):
            raise SourceError(
                f"images {start} to {stop} were asked of {self.description}, which holds {len(self)}: "
                "keep to 0 <= start <= stop <= N"
            )
        return range(start, stop)

    def manifest_sha256(self) -> str:
        """SHA-256 over the ordered ids and labels and the images' common shape.

        Each id enters as UTF-8 followed by a NUL byte, then the labels as little-endian int32, then the label
        names like the ids, then `image_shape` as text where there is one. The images' contents have digests of
        their own, in the feature file: this one costs no reading.
        """
        digest = hashlib.sha256()
        for id_ in self.ids:
            digest.update(id_.encode() + b"\0")
        digest.update(np.ascontiguousarray(self.labels, dtype="<i4").tobytes())
        for name in self.label_names:
            digest.update(name.encode() + b"\0")
        if self.image_shape is not None:
            digest.update(repr(tuple(self.image_shape)).encode())
        return digest.hexdigest()


def check_size(size: int) -> None:
    """Raise `OSError` where an encoded image of `size` bytes is above `MAX_ENCODED_BYTES`."""
    if size > MAX_ENCODED_BYTES:
        raise OSError(f"{size} bytes, above the limit of {MAX_ENCODED_BYTES} for one image")


def check_unique(ids: Sequence[str], given: str) -> None:
    """Raise `SourceError` where an image appears twice in `ids`."""
    if len(set(ids)) == len(ids):
        return
    seen: set[str] = set()
    for id_ in ids:
        if id_ in seen:
            raise SourceError(f"the image {id_} appears twice in {given}: name each image once")
        seen.add(id_)


def content_sha256(content: bytes | NDArray[np.uint8]) -> bytes:
    """SHA-256 of an image's file, or of its pixels in C order where the source holds pixels; 32 bytes."""
    return hashlib.sha256(
        content if isinstance(content, bytes) else np.ascontiguousarray(content).data
    ).digest()
