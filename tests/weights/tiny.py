"""A backbone of two layers under the name of a real one, so that its files follow the same rules but stay small."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pool3.backbones import Backbone, ConvLayer, Network, Preprocessing, Tensors
from pool3.weights import random_tensors


class Tiny(Backbone):
    preprocessing = Preprocessing("tf1-bilinear", 8, 128.0, 0.0078125)
    batch_norm_epsilon = 0.001
    main_feature = "pool_3"
    features = {"pool_3": (5,)}  # noqa: RUF012
    dense = {"softmax/weights": (5, 7), "softmax/biases": (7,)}  # noqa: RUF012

    def __init__(self, name: str = "inception_v3") -> None:
        self.name = name
        self.layers = (
            ConvLayer("conv", (3, 3, 3, 4), 2, "VALID"),
            ConvLayer("mixed/tower/conv_1", (1, 2, 4, 5)),
        )

    def build(self, tensors: Tensors, features: tuple[str, ...]) -> Network:
        raise NotImplementedError("the tests of weights never run a network of this kind")


TINY = Tiny()


def tiny_tensors(seed: int = 5) -> dict[str, NDArray[np.float32]]:
    return random_tensors(TINY, seed)


def assert_same(found: Tensors, expected: Tensors) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], tensor, err_msg=name)
