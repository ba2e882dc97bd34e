"""The plain form: average pool, then 1×1 convolution and bias, in float64 as the network's definition has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pool_conv(
    x: NDArray[np.float32], weights: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Pool 3×3 with stride 1, the padding left out of the mean; then ``pooled · weights + bias``.

    Source: the pool branches of Szegedy et al., "Rethinking the Inception Architecture" (arXiv:1512.00567), figure 5.

    Args:
        x: (B, H, W, in).
        weights: (1, 1, in, out).
        bias: (out,).

    Returns:
        (B, H, W, out) float64.
    """
    height, width = x.shape[1:3]
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    inside = np.pad(np.ones((height, width)), 1)

    def windows(values: Any, axis: int) -> Any:
        return np.lib.stride_tricks.sliding_window_view(values, (3, 3), (axis, axis + 1)).sum((-2, -1))

    pooled = windows(padded, 1) / windows(inside, 0)[None, :, :, None]
    result: NDArray[np.float64] = pooled @ weights[0, 0].astype(np.float64) + bias.astype(np.float64)
    return result
