"""Convolving before pooling gives what pooling before convolving gives, and is what Inception-v3 runs."""

import numpy as np
import pytest
import tensorflow as tf

from pool3.backbones import INCEPTION_V3, INCEPTION_V3_KERAS
from pool3.weights import random_tensors
from pool3_kernels.swap import conv_pool
from pool3_kernels.swap.cases import CASES, Case
from pool3_kernels.swap.reference import pool_conv
from tests.kernels.running import MODES, run


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fast_equals_reference(case: Case, mode: str) -> None:
    x, weights, bias = case.inputs()

    def fast(y):
        return conv_pool(
            y,
            lambda z: tf.nn.bias_add(tf.nn.conv2d(z, weights, 1, "SAME"), bias),
            lambda z: tf.nn.avg_pool2d(z, 3, 1, "SAME"),
        )

    expected = pool_conv(x, weights, bias)
    assert np.abs(run(mode, fast, x).numpy() - expected).max() / np.abs(expected).max() < 1e-5


@pytest.mark.parametrize(
    ("backbone", "pools"), [(INCEPTION_V3, 8), (INCEPTION_V3_KERAS, 9)], ids=lambda value: str(value)[:20]
)
def test_every_average_pool_of_the_network_follows_its_convolution(backbone, pools) -> None:
    network = backbone.build(random_tensors(backbone, 0), ("pool_3",))
    spec = tf.TensorSpec((1, 299, 299, 3), tf.float32)
    graph = tf.function(network, autograph=False).get_concrete_function(spec).graph
    found = [op for op in graph.get_operations() if op.type == "AvgPool"]
    assert len(found) == pools
    # The output channels of the branch, 32, 64 or 192, where its input has 192 to 2048.
    assert {op.outputs[0].shape[3] for op in found} == {32, 64, 192}
    assert {op.inputs[0].op.type for op in found} == {"BiasAdd"}
    assert {op.outputs[0].consumers()[0].type for op in found} == {"Relu"}
