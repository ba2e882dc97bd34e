"""The fast form: TensorFlow's own batched op."""

from __future__ import annotations

from typing import Any


def resize_bilinear(images: Any, size: int, *, half_pixel: bool) -> Any:
    """Resize (B, H, W, C) images of any numeric dtype to (B, size, size, C) float32, inside any graph.

    Args:
        images: tensor or array.
        size: side of the output, in pixels.
        half_pixel: False for the mapping of the 2015 graph, True for that of `tf.image.resize`.
    """
    import tensorflow as tf

    # The raw op, since tf.image.resize knows the half-pixel mapping alone.
    return tf.raw_ops.ResizeBilinear(
        images=images, size=(size, size), align_corners=False, half_pixel_centers=half_pixel
    )
