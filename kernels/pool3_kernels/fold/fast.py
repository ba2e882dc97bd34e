"""The fast form: weights and a bias that give convolution and batch norm in one step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fold_batch_norm(
    weights: NDArray[np.float32],
    *,
    beta: NDArray[np.float32],
    gamma: NDArray[np.float32] | None,
    mean: NDArray[np.float32],
    variance: NDArray[np.float32],
    epsilon: float,
    depthwise: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fold inference batch norm into the convolution before it.

    With ``s = gamma / sqrt(variance + epsilon)``: ``weights' = weights · s`` by output channel, and
    ``bias = beta − mean · s``. Computed in float64, rounded once.

    Args:
        weights: (kh, kw, in, out), or (kh, kw, channels, 1) where `depthwise`.
        beta: (out,).
        gamma: (out,), or None for ones.
        mean: (out,).
        variance: (out,), not negative.
        epsilon: added to the variance.
        depthwise: whether each channel is convolved by itself.

    Returns:
        The folded weights, shaped as given, and the bias (out,), both float32.
    """
    scale = 1.0 / np.sqrt(variance.astype(np.float64) + epsilon)
    if gamma is not None:
        scale *= gamma.astype(np.float64)
    by_channel = scale[:, None] if depthwise else scale
    folded = weights.astype(np.float64) * by_channel
    bias = beta.astype(np.float64) - mean.astype(np.float64) * scale
    return folded.astype(np.float32), bias.astype(np.float32)
