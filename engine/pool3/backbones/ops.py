"""The operations that networks are made of, at one precision.

Weights, biases and activations have the precision's dtype; sums over many values (average pools, the mean at the end)
are taken in float32, and so is the classifier. On the CPU oneDNN sums the products of a convolution in float32 as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3_kernels.bands import Padding, Zeros


class Ops:
    """Convolutions and pools whose inputs and outputs have the dtype `precision`.

    Args:
        precision: ``float32``, ``bfloat16`` or ``float16``.
        folded: each layer's scope → weights (kh, kw, in, out), or (kh, kw, in, 1) depthwise, and bias (out,).
        variables: hold them as variables of the scope that this is called in. Else they become constants of the graph
            that calls `conv`, so that TensorFlow can lay them out once.
    """

    def __init__(
        self,
        precision: str,
        folded: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]],
        *,
        variables: bool = False,
    ) -> None:
        import tensorflow as tf

        from pool3_kernels.average_pool import sums_in_float32

        self._dtype = tf.dtypes.as_dtype(precision)
        # What was tried says nothing of a network that XLA compiles, and there the casts are fused anyway.
        self._native_pools = not variables and sums_in_float32(self._dtype)
        hold = partial(tf.Variable, trainable=False) if variables else np.asarray
        self._folded = {
            scope: [hold(array.astype(self._dtype.as_numpy_dtype, copy=False)) for array in arrays]
            for scope, arrays in folded.items()
        }

    def enter(self, x: Any) -> Any:
        """(…) of any numeric dtype → the precision's."""
        import tensorflow as tf

        return tf.cast(x, self._dtype)

    def leave(self, x: Any) -> Any:
        """The precision's dtype → float32, exactly."""
        import tensorflow as tf

        return tf.cast(x, tf.float32)

    def conv(
        self,
        x: Any,
        scope: str,
        stride: int,
        padding: Zeros,
        *,
        depthwise: bool = False,
    ) -> Any:
        """Convolve (B, H, W, in) with a layer's weights and add its bias."""
        import tensorflow as tf

        weights, bias = (tf.convert_to_tensor(held) for held in self._folded[scope])
        if depthwise:
            x = tf.nn.depthwise_conv2d(x, weights, (1, stride, stride, 1), padding)
        else:
            x = tf.nn.conv2d(x, weights, stride, padding)
        return tf.nn.bias_add(x, bias)

    def max_pool(self, x: Any, size: int, stride: int, padding: Padding) -> Any:
        """Largest value of each window."""
        import tensorflow as tf

        return tf.nn.max_pool2d(x, size, stride, padding)

    def average_pool(self, x: Any, size: int, stride: int, padding: Padding) -> Any:
        """Mean of each window without the padding, summed in float32."""
        from pool3_kernels.average_pool import average_pool

        return average_pool(x, size, stride, padding, native=self._native_pools)

    def mean(self, x: Any) -> Any:
        """(B, H, W, C) → (B, C) float32, the mean over height and width."""
        import tensorflow as tf

        return tf.reduce_mean(self.leave(x), axis=(1, 2))
