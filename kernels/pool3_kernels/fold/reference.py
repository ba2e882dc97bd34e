"""The plain form: a convolution, then batch norm, each step as written in the paper, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def conv_batch_norm(
    x: NDArray[np.float32],
    weights: NDArray[np.float32],
    *,
    beta: NDArray[np.float32],
    gamma: NDArray[np.float32] | None,
    mean: NDArray[np.float32],
    variance: NDArray[np.float32],
    epsilon: float,
    stride: int,
    padding: str,
    depthwise: bool = False,
) -> NDArray[np.float64]:
    """Compute ``gamma · (conv(x, weights) − mean) / sqrt(variance + epsilon) + beta``.

    Source: Ioffe and Szegedy, "Batch Normalization" (arXiv:1502.03167), algorithm 2, inference form.

    Args:
        x: (B, H, W, in).
        weights: (kh, kw, in, out), or (kh, kw, channels, 1) where `depthwise`.
        beta: (out,).
        gamma: (out,), or None for ones.
        mean: (out,).
        variance: (out,).
        epsilon: added to the variance.
        stride: the same down and across.
        padding: ``SAME`` or ``VALID``.
        depthwise: whether each channel is convolved by itself.

    Returns:
        (B, H', W', out) float64.
    """
    import tensorflow as tf

    y: Any
    wide = x.astype(np.float64)
    if depthwise:
        y = tf.nn.depthwise_conv2d(wide, weights.astype(np.float64), (1, stride, stride, 1), padding)
    else:
        y = tf.nn.conv2d(wide, weights.astype(np.float64), stride, padding)
    normalised = (y.numpy() - mean.astype(np.float64)) / np.sqrt(variance.astype(np.float64) + epsilon)
    scaled = normalised if gamma is None else normalised * gamma.astype(np.float64)
    result: NDArray[np.float64] = scaled + beta.astype(np.float64)
    return result
