"""The plain form: cast to float32, pool, round once."""

from __future__ import annotations

from typing import Any


def average_pool(x: Any, size: int, stride: int, padding: str) -> Any:
    """Mean of each window, the padding left out of it, as TensorFlow's average pool has it.

    Args:
        x: (B, H, W, C) of a floating dtype.
        size: side of the window.
        stride: the same down and across.
        padding: ``SAME`` or ``VALID``.

    Returns:
        (B, H', W', C) of the dtype of `x`, summed in float32.
    """
    import tensorflow as tf

    return tf.cast(tf.nn.avg_pool2d(tf.cast(x, tf.float32), size, stride, padding), x.dtype)
