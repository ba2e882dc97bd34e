"""Images that a program gives one by one: paths, encoded files in memory, and pixels, in any mixture."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.errors import SourceError
from pool3.sources import labels as labelling
from pool3.sources.arrays import ArraySource
from pool3.sources.base import Content, Source, Unreadable, check_size
from pool3.sources.files import read_ahead, read_file
from pool3.sources.naming import escape

_ONE = "a path, the bytes of a file, or pixels as a uint8 array (height, width, 3) or (height, width)"


class ItemSource(Source):
    """Images given one by one, without labels; unlike files that are named, the same one may be given twice.

    Args:
        items: each a path, an encoded file as bytes, pixels (H, W, 3), (H, W, 1) or (H, W) uint8, or None (NaN, NA) for
            an image that is missing, which is `Unreadable`. Arrays are kept, not copied.

    Raises:
        SourceError: there is none, or one is something else.
    """

    def __init__(self, items: Sequence[Any]) -> None:
        count = len(items)
        if not count:
            raise SourceError("no image was given: give at least one")
        self._items = [_checked(item, place) for place, item in enumerate(items)]
        self.description = f"{count:,} images"
        digits = len(str(count - 1))
        self.ids = [f"{place:0{digits}d}" for place in range(count)]
        self.labels, self.label_names = labelling.no_labels(count)
        self.image_shape = None

    def name(self, index: int) -> str:
        """What to call an image in a message: its place, and its path where it has one."""
        item = self._items[index]
        return f"image {index} ({escape(item)})" if isinstance(item, str) else f"image {index}"

    def read(self, start: int, stop: int) -> Iterator[Content]:
        """Yield bytes of files, read ahead, and arrays of shape (H, W, 3)."""
        return read_ahead(lambda index: _read(self._items[index]), self._check_range(start, stop))


def as_source(images: Any) -> Source:
    """Take images as programs hold them.

    Args:
        images: a uint8 array (N, H, W, 3), or grey (N, H, W) or (N, H, W, 1); or a sequence, Series, one-dimensional
            array, or table or array of a single column, of what `ItemSource` takes.

    Raises:
        SourceError: it is none of these; the message says what to do.
    """
    if isinstance(images, str | bytes | os.PathLike):
        raise SourceError(
            f"one {type(images).__name__} was given where images are counted: give a list of them, such as "
            "sorted(Path('photos').rglob('*.jpg'))"
        )
    if hasattr(images, "to_numpy"):  # tables and columns of pandas, Polars and Arrow
        images = images.to_numpy()
    if isinstance(images, np.ndarray):
        return _of_array(images)
    if not isinstance(images, Sequence):
        raise SourceError(
            f"images of type {type(images).__name__} were given: give a list whose items are each {_ONE}, or one "
            "uint8 array (N, height, width, 3)"
        )
    return ItemSource(images)


def _of_array(images: NDArray[Any]) -> Source:
    if images.ndim == 2 and images.shape[1] == 1:
        images = images[:, 0]
    if images.ndim == 1 and images.dtype.kind in "OUT":
        return ItemSource(images.tolist() if images.dtype.kind == "U" else list(images))
    if images.ndim == 1 and images.dtype.kind == "S":
        raise SourceError(
            "an array of NumPy's fixed-width bytes was given, which drops zeros at the end of a file: give a list of "
            "bytes, or an array of dtype object"
        )
    if images.ndim >= 3 and not len(images):
        raise SourceError("no image was given: give at least one")
    if images.ndim < 3:
        raise SourceError(
            f"numbers of shape {images.shape} and dtype {images.dtype} were given, which are no images: give uint8 "
            f"pixels of shape (N, height, width, 3), or a list whose items are each {_ONE}; rows of pixels in a table "
            "become images by rows.reshape(-1, height, width, 3)"
        )
    return ArraySource(images, name="image", description=f"{len(images):,} images")


def _checked(item: Any, place: int) -> str | bytes | NDArray[np.uint8] | Unreadable:
    """An item in one of the four forms that `_read` knows.

    Raises:
        SourceError: it is none that an image can be.
    """
    if isinstance(item, str | os.PathLike):
        return os.fsdecode(item)
    if isinstance(item, bytes | bytearray | memoryview):
        return bytes(item)
    if isinstance(item, np.ndarray):
        shape = item.shape
        right = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
        if item.dtype == np.uint8 and right and 0 not in shape:
            return item
        raise SourceError(
            f"image {place} has shape {shape} and dtype {item.dtype}: give {_ONE}, with values 0–255 and no alpha"
        )
    if item is None or (isinstance(item, float) and np.isnan(item)) or type(item).__name__ == "NAType":
        return Unreadable("MissingImage", f"there is none: {item} stands in its place")
    raise SourceError(f"image {place} is of type {type(item).__name__}: give {_ONE}")


def _read(item: str | bytes | NDArray[np.uint8] | Unreadable) -> Content:
    if isinstance(item, str):
        return read_file(item)
    if isinstance(item, bytes):
        try:
            check_size(len(item))
        except OSError as error:
            return Unreadable.of(error)
    elif isinstance(item, np.ndarray):
        image = item[:, :, None] if item.ndim == 2 else item
        return np.ascontiguousarray(np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image)
    return item
