"""What every source of images offers: a countable, ordered stream of images with ids and labels."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_LABEL = -1


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands in for an image whose bytes could not be read.

    Attributes:
        error: class name of the exception, such as ``PermissionError``.
        message: what went wrong, without temporary paths.
    """

    error: str
    message: str


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
    """

    description: str
    ids: Sequence[str]
    labels: NDArray[np.int32]
    label_names: tuple[str, ...]
    image_shape: tuple[int, int] | None

    def __len__(self) -> int:
        """Count of images."""
        return len(self.ids)

    @abstractmethod
    def read(self, start: int, stop: int) -> Iterator[Content]:
        """Yield exactly ``stop - start`` contents, in order, of the images start, start + 1, … stop - 1.

        An image that cannot be read is yielded as `Unreadable`; it never ends the iteration.
        """

    def manifest_sha256(self) -> str:
        """SHA-256 over the ordered ids and labels: two sources with the same digest hold the same rows.

        Each id enters as UTF-8 followed by a NUL byte, then the labels as little-endian int32, then the label
        names like the ids. The images' contents have digests of their own, in the feature file.
        """
        digest = hashlib.sha256()
        for id_ in self.ids:
            digest.update(id_.encode() + b"\0")
        digest.update(np.ascontiguousarray(self.labels, dtype="<i4").tobytes())
        for name in self.label_names:
            digest.update(name.encode() + b"\0")
        return digest.hexdigest()
