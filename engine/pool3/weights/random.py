"""Seeded random weights whose activations look like a trained network's, for benches and tests.

Speed does not depend on the values, but rounding does: so activations must neither die nor explode over some
fifty layers, channels must differ, and different images must give different features.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from pool3.backbones import Backbone, ConvLayer

# Mean and variance of what a layer sees. Pixels: uniform in −1 … 1 after offset and scale, hence 0 and 1/3.
# After batch norm and ReLU: of relu(z), z standard normal: 1/√2π = 0.399 and 1/2 − 1/2π = 0.341
# (He et al., arXiv:1502.01852, use the second moment, 1/2); a little more for gammas and betas.
_PIXELS = (0.0, 1 / 3)
_RELU = (0.41, 0.37)

_GAMMA = (0.6, 1.4)
_BETA_STD = 0.1
_MEAN_STD = 0.1
_VARIANCE_SPREAD = 2.0  # log-uniform between expected / 2 and expected · 2


def random_tensors(backbone: Backbone, seed: int) -> dict[str, NDArray[np.float32]]:
    """Make all tensors of a backbone, the same for the same seed.

    Each tensor draws from a stream of its own (PCG64, seeded with the seed and the tensor's name). Means and
    variances are those that the layer's own weights make of its expected input, times a spread.

    Args:
        backbone: whose tensors.
        seed: any integer from 0.

    Returns:
        Canonical name → float32 array, as in ``backbone.tensors()``.
    """
    tensors: dict[str, NDArray[np.float32]] = {}
    linear = 0.0  # variance of the last projection's output, residuals added; 0 where there was none
    residual_channels = 0
    for layer in backbone.layers:
        projection = layer.scope.endswith("/project")
        after_projection = linear > 0 and (layer.scope.endswith("/expand") or layer.scope == "head")
        moments = _PIXELS if not tensors else (0.0, linear) if after_projection else _RELU
        tensors |= _layer(layer, seed, moments)
        if layer.scope.endswith("/expand"):
            residual_channels = layer.shape[2]
        elif layer.depthwise and layer.stride > 1:
            residual_channels = 0
        elif projection:
            linear = 1.0 + (linear if residual_channels == layer.channels else 0.0)
    for name, shape in backbone.dense.items():
        scale = 1 / math.sqrt(shape[0]) if len(shape) == 2 else 0.1
        tensors[name] = (_stream(seed, name).standard_normal(shape) * scale).astype(np.float32)
    return tensors


def _layer(layer: ConvLayer, seed: int, moments: tuple[float, float]) -> dict[str, NDArray[np.float32]]:
    """Tensors of one layer, given mean and variance of its input."""
    channel_axis = 2 if layer.depthwise else 3
    fan_in = math.prod(layer.shape) // layer.channels
    spatial = tuple(axis for axis in range(4) if axis != channel_axis)
    weights = _stream(seed, f"{layer.scope}/weights").standard_normal(layer.shape) * math.sqrt(2 / fan_in)
    if moments[0] and not layer.depthwise:
        # Zero sum: what all input channels share is the same for every image, and would grow from layer to
        # layer until it drowned what differs. (A depthwise kernel of zero sum would stop all that is smooth.)
        weights -= weights.mean(spatial, keepdims=True)
    expected = np.square(weights).sum(spatial) * moments[1]
    mean = weights.sum(spatial) * moments[0]
    size = layer.channels

    def draw(name: str) -> np.random.Generator:
        return _stream(seed, f"{layer.scope}/{name}")

    spread = np.exp(draw("variance").uniform(-1, 1, size) * math.log(_VARIANCE_SPREAD))
    tensors = {
        "weights": weights,
        "beta": draw("beta").standard_normal(size) * _BETA_STD,
        "gamma": draw("gamma").uniform(*_GAMMA, size),
        "mean": mean + draw("mean").standard_normal(size) * _MEAN_STD * np.sqrt(expected),
        "variance": expected * spread,
    }
    return {name: tensors[name.rpartition("/")[2]].astype(np.float32) for name in layer.tensors()}


def _stream(seed: int, name: str) -> np.random.Generator:
    words = np.frombuffer(hashlib.sha256(name.encode()).digest(), "<u4")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *map(int, words)])))
