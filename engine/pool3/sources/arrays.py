"""Images as arrays: in memory, in a memory-mapped ``.npy`` file, or in an ``.npz`` file."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

from pool3.errors import SourceError
from pool3.sources import labels as labelling
from pool3.sources.base import Content, Source
from pool3.sources.files import absolute
from pool3.sources.naming import escape

IMAGE_KEYS = ("images", "x", "data")
LABEL_KEYS = ("labels", "y")

# What NumPy lets through where a header or its contents are damaged.
_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    tokenize.TokenError,
    TypeError,
    OverflowError,
    MemoryError,
)
_ZIP_DAMAGE = (*_DAMAGE, zlib.error, zipfile.BadZipFile, RuntimeError)


class ArraySource(Source):
    """Images that are one uint8 array.

    Args:
        images: shape (N, H, W, 3), RGB, uint8, 0–255. Grey images, of shape (N, H, W) or (N, H, W, 1), are
            taken too: their channel is repeated as each is read. The array is kept, not copied.
        labels: shape (N,); integers (-1 for no label) or strings; with `label_names`, indices into those.
        label_names: the classes' names, where the labels' own values are not to be their names.
        name: ids are ``name/0000``, as wide as the last index.
        description: what the user asked for; `name` where None.
        location: what the ids are relative to, where the array is a file.

    Raises:
        SourceError: another dtype or shape, no image, or labels that do not fit.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        *,
        labels: ArrayLike | None = None,
        label_names: Sequence[str] | None = None,
        name: str = "array",
        description: str | None = None,
        location: Path | None = None,
    ) -> None:
        self.description = name if description is None else description
        check_images(images.shape, images.dtype, self.description)
        self._images = images
        count, height, width = images.shape[:3]
        digits = len(str(count - 1))
        self.ids = [f"{name}/{index:0{digits}d}" for index in range(count)]
        if labels is None:
            label = labelling.no_labels(count)
        elif label_names is None:
            label = labelling.from_values(labels, count, self.description)
        else:
            checked = labelling.from_values(labels, count, self.description)
            label = labelling.from_indices(
                [int(checked[1][i]) for i in checked[0]], label_names, self.description
            )
        self.labels, self.label_names = label
        self.image_shape = (height, width)
        self.location = location

    def read(self, start: int, stop: int) -> Iterator[Content]:
        """Yield arrays of shape (H, W, 3), uint8; views where the array is in memory and contiguous."""
        return map(self._image, self._check_range(start, stop))

    def _image(self, index: int) -> NDArray[np.uint8]:
        image = self._images[index]
        if image.ndim == 2:
            image = image[:, :, None]
        if image.shape[2] == 1:
            return np.repeat(image, 3, axis=2)
        if isinstance(image, np.memmap):
            return np.array(image)  # read the pages here and now, not wherever the pixels are first used
        return np.ascontiguousarray(image)


def check_images(shape: tuple[int, ...], dtype: np.dtype[Any], given: str) -> None:
    """Check that an array of this shape and dtype can be an `ArraySource`.

    Raises:
        SourceError: it cannot; the message says what to convert.
    """
    problem = None
    if dtype != np.uint8:
        problem = "convert it to uint8, with values 0–255"
    elif len(shape) == 3 and shape[2] == 3:
        problem = "a single image needs a leading axis, array[None]"
    elif len(shape) not in (3, 4):
        problem = "bring it to (N, height, width, 3)"
    elif len(shape) == 4 and shape[3] == 4:
        problem = "drop its alpha channel, array[..., :3]"
    elif len(shape) == 4 and shape[3] not in (1, 3) and shape[1] in (1, 3):
        problem = "move its channels to the end, array.transpose(0, 2, 3, 1)"
    elif len(shape) == 4 and shape[3] not in (1, 3):
        problem = "bring it to (N, height, width, 3)"
    elif 0 in shape:
        problem = "it holds no pixels, so there is nothing to extract"
    if problem is not None:
        raise SourceError(
            f"{given} has shape {shape} and dtype {dtype}, where pool3 takes uint8 images of shape "
            f"(N, height, width, 3), or grey ones of shape (N, height, width): {problem}"
        )


def open_npy(path: Path, labels: ArrayLike | None = None) -> ArraySource:
    """Map a ``.npy`` file into memory: only the images being read take RAM. Do not shorten it meanwhile.

    Labels come from the argument, or else from the file ``NAME.labels.npy`` beside ``NAME.npy``, where there
    is one.

    Raises:
        SourceError: the file is damaged, holds Python objects, or is not an array of images.
    """
    images = _map(path)
    beside = path.with_name(f"{path.stem}.labels.npy")
    if labels is None and beside.is_file():
        labels = np.array(_map(beside))
    return _array_file(path, images, labels)


def _map(path: Path) -> NDArray[Any]:
    try:
        return npy.open_memmap(path, mode="r")
    except _DAMAGE as error:
        raise SourceError(
            f"{path} cannot be read as a .npy array ({error}): write it with numpy.save"
        ) from error


def open_npz(path: Path, labels: ArrayLike | None = None) -> ArraySource:
    """Load the images of an ``.npz`` file into memory, once: N × height × width × 3 bytes.

    The images are the array named ``images``, ``x`` or ``data`` (in that order), or else the only array with
    four dimensions, or else the only one with three; shape and dtype are checked before it is loaded. Labels
    come from the argument, or else from the array named ``labels`` or ``y``, where there is one.

    Raises:
        SourceError: the file is damaged, holds Python objects, or it is not clear which array holds the
        images.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            heads = {}
            for entry in archive.infolist():
                if entry.filename.endswith(".npy"):
                    with archive.open(entry) as file:
                        heads[entry.filename[:-4]] = _head(file)
            key = _images_key(heads, path)
            check_images(*heads[key], f"{key!r} in {path}")
            images = _load(archive, key)
            found = next((name for name in LABEL_KEYS if name in heads), None)
            if labels is None and found is not None:
                labels = _load(archive, found)
    except SourceError:
        raise
    except _ZIP_DAMAGE as error:
        raise SourceError(
            f"{path} cannot be read as an .npz file ({error}): write it with numpy.savez"
        ) from error
    return _array_file(path, images, labels)


def _head(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read shape and dtype from the start of a ``.npy`` stream."""
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _load(archive: zipfile.ZipFile, key: str) -> NDArray[Any]:
    entry = archive.getinfo(f"{key}.npy")
    with archive.open(entry) as file:
        shape, dtype = _head(file)
        expected = file.tell() + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if expected != entry.file_size:  # before memory is set aside for whatever the header claims
        raise ValueError(f"{key!r} has {entry.file_size} bytes, where its header calls for {expected}")
    with archive.open(entry) as file:
        return np.asarray(npy.read_array(file, allow_pickle=False))


def _images_key(heads: dict[str, tuple[tuple[int, ...], np.dtype[Any]]], path: Path) -> str:
    for key in IMAGE_KEYS:
        if key in heads:
            return key
    for dimensions in (4, 3):
        keys = [
            key for key, (shape, _) in heads.items() if len(shape) == dimensions and key not in LABEL_KEYS
        ]
        if len(keys) == 1:
            return keys[0]
        if keys:
            break
    listing = ", ".join(f"{key} {shape} {dtype}" for key, (shape, dtype) in heads.items()) or "no array"
    raise SourceError(
        f"{path} holds {listing}: name the array of images {', '.join(IMAGE_KEYS[:-1])} or {IMAGE_KEYS[-1]}"
    )


def _array_file(path: Path, images: NDArray[Any], labels: ArrayLike | None) -> ArraySource:
    location = absolute(path).parent
    return ArraySource(
        images, labels=labels, name=escape(path.name), description=escape(str(path)), location=location
    )
