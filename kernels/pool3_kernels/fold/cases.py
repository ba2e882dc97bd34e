"""Layers on which the folded and the plain form are compared, taken from the networks that pool3 runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Case:
    """One convolution with batch norm: input side, kernel, stride, padding."""

    name: str
    side: int
    kernel: tuple[int, int, int, int]
    stride: int
    padding: str
    depthwise: bool = False
    gamma: bool = True

    def inputs(self, batch: int = 2, seed: int = 0) -> dict[str, NDArray[np.float32]]:
        """Seeded float32 arrays: x, weights, beta, gamma (where there is one), mean, variance."""
        rng = np.random.default_rng(seed)
        kh, kw, channels, out = self.kernel
        width = channels if self.depthwise else out

        def normal(*shape: int, scale: float = 1.0) -> NDArray[np.float32]:
            return (rng.standard_normal(shape) * scale).astype(np.float32)

        arrays = {
            "x": normal(batch, self.side, self.side, channels),
            "weights": normal(*self.kernel, scale=(2.0 / (kh * kw * channels)) ** 0.5),
            "beta": normal(width),
            "mean": normal(width),
            # Trained variances span orders of magnitude; small ones are where epsilon matters.
            "variance": (10.0 ** rng.uniform(-3, 2, width)).astype(np.float32),
        }
        if self.gamma:
            arrays["gamma"] = normal(width)
        return arrays


CASES = (
    Case("inception stem", 31, (3, 3, 3, 32), 2, "VALID"),
    Case("inception 1x1", 17, (1, 1, 768, 192), 1, "SAME"),
    Case("inception 1x7", 17, (1, 7, 160, 160), 1, "SAME"),
    Case("keras 3x3, no gamma", 17, (3, 3, 96, 96), 2, "VALID", gamma=False),
    Case("efficientnet depthwise 5x5", 14, (5, 5, 240, 1), 2, "SAME", depthwise=True),
)
