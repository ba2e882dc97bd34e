"""The fast form: pooled in its own dtype, where the device's op is known to sum in float32."""

from __future__ import annotations

from typing import Any

from pool3_kernels.average_pool import reference

_TWO_APART = {"bfloat16": 2.0**8, "float16": 2.0**11, "float32": 2.0**24}
"""Where the numbers of a dtype begin to lie two apart: 2 to the bits of its significand, the hidden one with them."""


def average_pool(x: Any, size: int, stride: int, padding: str, *, native: bool) -> Any:
    """Mean of each window without the padding: as `reference.average_pool`, bit for bit.

    Args:
        x: (B, H, W, C) of a floating dtype.
        size: side of the window.
        stride: the same down and across.
        padding: ``SAME`` or ``VALID``.
        native: pool in the dtype of `x`, which spares two casts; only where `sums_in_float32` of it holds.
    """
    import tensorflow as tf

    if not native:
        return reference.average_pool(x, size, stride, padding)
    return tf.nn.avg_pool2d(x, size, stride, padding)


def sums_in_float32(dtype: Any) -> bool:
    """Whether this device's average pool of `dtype` sums in float32 and rounds once, found by trying it.

    oneDNN does on processors with AVX-512. A kernel that adds up in the dtype itself loses ones that it adds to
    a value from which on the dtype's numbers are two apart.

    Args:
        dtype: ``float32``, ``bfloat16`` or ``float16``, by name or as TensorFlow's.
    """
    import tensorflow as tf

    dtype = tf.dtypes.as_dtype(dtype)
    large = _TWO_APART[dtype.name]
    window = tf.concat([[large], tf.ones(8), [large], tf.ones(8)], 0)
    # 16 channels alike, since a kernel may treat few of them in another way.
    x = tf.cast(tf.tile(tf.reshape(window, (2, 3, 3, 1)), (1, 1, 1, 16)), dtype)
    found = tf.nn.avg_pool2d(x, 3, 1, "VALID")
    wanted = reference.average_pool(x, 3, 1, "VALID")
    return bool(tf.reduce_all(found == wanted))
