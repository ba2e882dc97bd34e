"""Chains on which the two forms are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3_kernels.bands.window import Padding, Window, Zeros


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution with its ReLU, or a max pool where `out` is 0; see `Window` for the rest."""

    size: tuple[int, int]
    out: int
    stride: int = 1
    padding: Padding = "VALID"


@dataclass(frozen=True, slots=True)
class Case:
    """A chain over (side, side, channels)."""

    name: str
    side: int
    channels: int
    layers: tuple[Layer, ...]

    def inputs(self, batch: int = 1, seed: int = 0) -> NDArray[np.float32]:
        """Seeded float32 (batch, side, side, channels)."""
        shape = (batch, self.side, self.side, self.channels)
        return np.random.default_rng(seed).standard_normal(shape, np.float32)

    def chain(self, dtype: Any, seed: int = 1) -> Sequence[Window]:
        """The operations, with seeded weights of a dtype of TensorFlow's."""
        rng = np.random.default_rng(seed)
        chain, channels = [], self.channels
        for layer in self.layers:
            weights = rng.standard_normal((*layer.size, channels, layer.out), np.float32)
            weights *= np.float32((2.0 / (layer.size[0] * layer.size[1] * channels)) ** 0.5)
            chain.append(_window(layer, weights.astype(dtype.as_numpy_dtype)))
            channels = layer.out or channels
        return chain


def _window(layer: Layer, weights: Any) -> Window:
    import tensorflow as tf

    def convolve(x: Any, zeros: Zeros) -> Any:
        return tf.nn.relu(tf.nn.conv2d(x, weights, layer.stride, zeros))

    def pool(x: Any, zeros: Zeros) -> Any:
        return tf.nn.max_pool2d(x, layer.size, layer.stride, zeros)

    return Window(layer.size, layer.stride, layer.padding, convolve if layer.out else pool)


CASES = (
    Case(
        "stem",
        299,
        3,
        (
            Layer((3, 3), 32, 2),
            Layer((3, 3), 32),
            Layer((3, 3), 64, 1, "SAME"),
            Layer((3, 3), 0, 2),
            Layer((1, 1), 80),
            Layer((3, 3), 192),
            Layer((3, 3), 0, 2),
        ),
    ),
    Case(
        "padded throughout",
        17,
        8,
        (Layer((7, 1), 16, 1, "SAME"), Layer((1, 7), 16, 1, "SAME"), Layer((5, 5), 8, 1, "SAME")),
    ),
    Case("one operation", 9, 4, (Layer((3, 3), 8, 2),)),
)
