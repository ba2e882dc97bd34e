"""The plain form: one operation after the other, each over all rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pool3_kernels.bands.window import Window


def whole(x: Any, chain: Sequence[Window]) -> Any:
    """(B, H, W, in) → (B, H', W', out), the chain's operations in turn."""
    for window in chain:
        x = window.run(x, window.padded(window.margins[0], window.margins[0]))
    return x
