"""The form for images of several sizes: batched, inside a graph, each image within the corner of a common canvas."""

from __future__ import annotations

from typing import Any, NamedTuple


class Canvas(NamedTuple):
    """Images of several sizes as one tensor.

    Attributes:
        pixels: (B, H, W, C) uint8; each image stands at the top left, and what lies outside it is never read.
        sizes: (B, 2) int32, each image's height and width, from 1 to H and W.
    """

    pixels: Any
    sizes: Any


def resize_canvas(canvas: Canvas, size: int, *, half_pixel: bool) -> Any:
    """Resize each image of a canvas: what `resize_bilinear` gives of each image alone.

    The four neighbours of an output pixel are gathered with indices that end at the image's own edge, so neither the
    canvas nor another image shows in a result.

    Args:
        canvas: the images.
        size: side of the output, in pixels.
        half_pixel: False for the mapping of the 2015 graph, True for that of `tf.image.resize`.

    Returns:
        (B, size, size, C) float32.
    """
    import tensorflow as tf

    def axis(lengths: Any) -> tuple[Any, Any, Any]:
        """Lower and upper neighbour and the weight of the upper one, each (B, size)."""
        # In float64, then rounded once: graphs turn a division by a constant into a product with its rounded inverse.
        scale = tf.cast(tf.cast(lengths, tf.float64)[:, tf.newaxis] / size, tf.float32)
        i = tf.range(size, dtype=tf.float32)[tf.newaxis]
        source = (i + 0.5) * scale - 0.5 if half_pixel else i * scale
        floor = tf.floor(source)
        low = tf.cast(tf.maximum(floor, 0.0), tf.int32)
        high = tf.minimum(tf.cast(floor, tf.int32) + 1, lengths[:, tf.newaxis] - 1)
        return low, high, source - floor

    top, bottom, down = axis(canvas.sizes[:, 0])
    left, right, across = axis(canvas.sizes[:, 1])
    down, across = down[:, :, tf.newaxis, tf.newaxis], across[:, tf.newaxis, :, tf.newaxis]

    def row(index: Any) -> Any:
        lines = tf.gather(canvas.pixels, index, axis=1, batch_dims=1)
        near, far = (
            tf.cast(tf.gather(lines, columns, axis=2, batch_dims=1), tf.float32) for columns in (left, right)
        )
        return near + (far - near) * across

    upper = row(top)
    return upper + (row(bottom) - upper) * down
