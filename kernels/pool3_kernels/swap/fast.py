"""The fast form: the 1×1 convolution first, so that fewer channels are pooled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def conv_pool(x: Any, conv: Callable[[Any], Any], pool: Callable[[Any], Any]) -> Any:
    """Convolve, then pool: what pooling first gives, up to rounding, since both are linear.

    A 1×1 convolution mixes channels within a pixel and an average pool mixes pixels within a channel, so they
    commute. The bias commutes too, as the pool leaves the padding out of its mean and so keeps a constant. An
    activation does not: it comes after both.

    Args:
        x: (B, H, W, in).
        conv: a 1×1 convolution with stride 1 and its bias.
        pool: an average pool with stride 1 that leaves the padding out.

    Returns:
        (B, H, W, out), of the dtype that `conv` and `pool` give.
    """
    return pool(conv(x))
