"""``efficientnet_lite0`` against a plain build from Keras' layers: batch norm unfolded, blocks written out."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pool3.backbones import EFFICIENTNET_LITE0
from pool3.extractor import Extractor
from pool3.spec import ExtractSpec
from pool3.weights import load_weights

# (expansion, kernel, stride, output channels) of the sixteen blocks
BLOCKS = (
    (1, 3, 1, 16), (6, 3, 2, 24), (6, 3, 1, 24), (6, 5, 2, 40), (6, 5, 1, 40), (6, 3, 2, 80), (6, 3, 1, 80),
    (6, 3, 1, 80),
    (6, 5, 1, 112), (6, 5, 1, 112), (6, 5, 1, 112), (6, 5, 2, 192), (6, 5, 1, 192), (6, 5, 1, 192), (6, 5, 1, 192),
    (6, 3, 1, 320),
)  # fmt: skip


@pytest.fixture(scope="module")
def tensors():
    return load_weights(EFFICIENTNET_LITE0).tensors


@pytest.fixture(scope="module")
def oracle(tensors):
    def norm(x, scope):
        layer = layers.BatchNormalization(epsilon=0.001)
        y = layer(x)
        layer.set_weights([tensors[f"{scope}/{n}"] for n in ("gamma", "beta", "mean", "variance")])
        return y

    def conv(x, scope, out, kernel, stride, activate=True):
        layer = layers.Conv2D(out, kernel, stride, padding="same", use_bias=False)
        y = layer(x)
        layer.set_weights([tensors[f"{scope}/weights"]])
        y = norm(y, scope)
        return layers.ReLU(6.0)(y) if activate else y

    def depthwise(x, scope, kernel, stride):
        layer = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False)
        y = layer(x)
        layer.set_weights([tensors[f"{scope}/weights"]])
        return layers.ReLU(6.0)(norm(y, scope))

    inputs = keras.Input((224, 224, 3))
    x = conv(layers.Rescaling(1 / 128, -127 / 128)(inputs), "stem", 32, 3, 2)
    for number, (expansion, kernel, stride, out) in enumerate(BLOCKS):
        start, scope = x, f"blocks_{number}"
        if expansion > 1:
            x = conv(x, f"{scope}/expand", start.shape[-1] * expansion, 1, 1)
        x = depthwise(x, f"{scope}/depthwise", kernel, stride)
        x = conv(x, f"{scope}/project", out, 1, 1, activate=False)
        if stride == 1 and start.shape[-1] == out:
            x = layers.Add()([start, x])
    x = layers.GlobalAveragePooling2D()(conv(x, "head", 1280, 1, 1))
    dense = layers.Dense(1000, activation="softmax")
    y = dense(x)
    dense.set_weights([tensors["softmax/weights"], tensors["softmax/biases"]])
    return keras.Model(inputs, [x, y])


@pytest.mark.parametrize(("feature", "output"), [("pool", 0), ("softmax", 1)])
def test_equals_plain_layers(oracle, feature, output) -> None:
    rng = np.random.default_rng(5)
    images = np.kron(rng.integers(0, 256, (4, 12, 10, 3), dtype=np.uint8), np.ones((1, 8, 8, 1), np.uint8))
    extractor = Extractor(ExtractSpec(backbone="efficientnet_lite0", feature=feature, devices="cpu"))
    actual = extractor.embed(images)
    expected = oracle(tf.image.resize(images, (224, 224)))[output].numpy()
    for i in range(4):
        assert np.abs(actual[i] - expected[i]).max() / np.abs(expected[i]).max() < 1e-4
