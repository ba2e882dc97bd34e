"""Bicubic resize with a filter, as clean-fid does it: by Pillow itself, since the numbers have to be Pillow's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def resize_clean(image: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Resize to size × size: each channel as float32 (Pillow's mode F), bicubic, then clipped to 0–255.

    Nothing is rounded to whole levels. Where an image shrinks, Pillow widens the kernel by the same factor, so that
    nothing aliases. Source: Parmar et al., "On Aliased Resizing and Surprising Subtleties in GAN Evaluation" (2022),
    and ``make_resizer("PIL", False, "bicubic", …)`` of their clean-fid.

    Args:
        image: (H, W, 3) uint8.
        size: side of the output, in pixels.

    Returns:
        (size, size, 3) float32, in 0–255.

    Raises:
        ImportError: Pillow is not installed.
    """
    from PIL import Image

    resized = np.empty((size, size, image.shape[2]), np.float32)
    for channel in range(image.shape[2]):
        plane = Image.fromarray(image[:, :, channel].astype(np.float32))
        resized[:, :, channel] = np.asarray(plane.resize((size, size), Image.Resampling.BICUBIC))
    return np.clip(resized, 0, 255, out=resized)


def resize_each(
    values: NDArray[np.uint8], bounds: NDArray[np.int64], shapes: NDArray[np.int32], *, size: int
) -> NDArray[np.float32]:
    """Resize images of different sizes, which lie one after the other.

    Args:
        values: (V,) uint8, all pixels.
        bounds: (n + 1,), where each image begins and the last ends.
        shapes: (n, 3), H, W and 3 of each; an image without pixels becomes zeros.
        size: side of the outputs.

    Returns:
        (n, size, size, 3) float32.
    """
    images = np.zeros((len(shapes), size, size, 3), np.float32)
    for i, shape in enumerate(shapes):
        if shape[0]:
            images[i] = resize_clean(values[bounds[i] : bounds[i + 1]].reshape(shape), size)
    return images


def version() -> str:
    """Pillow's version.

    Raises:
        ImportError: it is not installed.
    """
    import PIL

    return str(PIL.__version__)
