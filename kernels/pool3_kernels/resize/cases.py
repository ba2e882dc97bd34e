"""Input sizes on which the two forms are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Case:
    """A batch of images of one size, and the side to resize them to."""

    name: str
    height: int
    width: int
    size: int = 299

    def inputs(self, batch: int = 2, seed: int = 0) -> NDArray[np.uint8]:
        """Seeded uint8 noise (batch, height, width, 3): the worst case for an interpolation."""
        rng = np.random.default_rng(seed)
        return rng.integers(0, 256, (batch, self.height, self.width, 3), dtype=np.uint8)


CASES = (
    Case("one pixel", 1, 1),
    Case("digits", 8, 8, 224),
    Case("cifar", 32, 32),
    Case("same size", 299, 299),
    Case("photograph", 375, 500),
    Case("odd", 301, 77),
    Case("row", 1, 640),
    Case("large", 1200, 1600),
)
