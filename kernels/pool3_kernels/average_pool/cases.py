"""Inputs on which the two forms are compared: the average pools of Inception-v3, after the swap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Case:
    """A pool of 3×3 with stride 1 and padding SAME over (side, side, channels)."""

    name: str
    side: int
    channels: int

    def inputs(self, batch: int = 2, seed: int = 0) -> NDArray[np.float32]:
        """Seeded float32 (batch, side, side, channels) over several orders of magnitude, where rounding shows."""
        rng = np.random.default_rng(seed)
        shape = (batch, self.side, self.side, self.channels)
        return (rng.standard_normal(shape) * 10.0 ** rng.uniform(-3, 3, shape)).astype(np.float32)


CASES = (
    Case("mixed", 35, 32),
    Case("mixed_2", 35, 64),
    Case("mixed_5", 17, 192),
    Case("mixed_9", 8, 192),
    Case("one channel", 5, 1),
)
