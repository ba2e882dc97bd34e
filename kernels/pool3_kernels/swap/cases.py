"""Pool branches of Inception-v3 on which the two orders are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Case:
    """A pool branch over (side, side, channels) with `out` channels."""

    name: str
    side: int
    channels: int
    out: int

    def inputs(
        self, batch: int = 2, seed: int = 0
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Seeded float32: x (batch, side, side, channels) not negative, weights (1, 1, channels, out), bias (out,)."""
        rng = np.random.default_rng(seed)
        x = np.maximum(rng.standard_normal((batch, self.side, self.side, self.channels), np.float32), 0)
        weights = rng.standard_normal((1, 1, self.channels, self.out), np.float32)
        weights *= np.float32((2.0 / self.channels) ** 0.5)
        return x, weights, rng.standard_normal(self.out, np.float32)


CASES = (
    Case("mixed", 35, 192, 32),
    Case("mixed_2", 35, 288, 64),
    Case("mixed_5", 17, 768, 192),
    Case("mixed_9", 8, 1280, 192),
    Case("one pixel", 1, 16, 8),
)
