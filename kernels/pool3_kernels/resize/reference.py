"""The plain form: the equation of bilinear resize, in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def _axis(
    length: int, size: int, half_pixel: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    scale = np.float32(length) / np.float32(size)
    i = np.arange(size, dtype=np.float32)
    source = (i + np.float32(0.5)) * scale - np.float32(0.5) if half_pixel else i * scale
    floor = np.floor(source)
    low = np.maximum(floor, 0).astype(np.intp)
    high = np.minimum(floor + 1, length - 1).astype(np.intp)
    return low, high, source - floor


def resize_bilinear(
    images: NDArray[np.uint8] | NDArray[np.float32], size: int, *, half_pixel: bool
) -> NDArray[np.float32]:
    """Resize to size × size: each output pixel is the mean of four neighbours, weighted by distance.

    Output index i maps to ``i · in / out`` (TensorFlow 1's default) or, with `half_pixel`, to
    ``(i + 0.5) · in / out − 0.5`` (TensorFlow 2's). Nothing is filtered when an image shrinks.
    Source: ``tensorflow/core/kernels/image/resize_bilinear_op.cc``.

    Args:
        images: (B, H, W, C) uint8 or float32.
        size: side of the output, in pixels.
        half_pixel: whether pixels are sampled at their centres.

    Returns:
        (B, size, size, C) float32.
    """
    x = images.astype(np.float32)
    top, bottom, down = _axis(x.shape[1], size, half_pixel)
    left, right, across = _axis(x.shape[2], size, half_pixel)
    down_, across_ = down[None, :, None, None], across[None, None, :, None]

    def row(index: NDArray[np.intp]) -> NDArray[np.float32]:
        line = x[:, index]
        mixed: NDArray[np.float32] = line[:, :, left] + (line[:, :, right] - line[:, :, left]) * across_
        return mixed

    upper = row(top)
    result: NDArray[np.float32] = upper + (row(bottom) - upper) * down_
    return result
