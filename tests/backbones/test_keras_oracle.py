"""``inception_v3_keras`` against Keras' own InceptionV3 class, through a weights file in Keras' own layout."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

from pool3.backbones import INCEPTION_V3_KERAS
from pool3.extractor import Extractor
from pool3.spec import ExtractSpec
from pool3.weights import random_tensors


@pytest.fixture(scope="module")
def oracle():
    """Keras' network with seeded weights of a trained-looking spread, set layer by layer in order of creation."""
    model = keras.applications.InceptionV3(weights=None)
    tensors = random_tensors(INCEPTION_V3_KERAS, 11)

    def created(kind: type, prefix: str) -> list:
        # Keras numbers layers in order of creation: conv2d, conv2d_1 … conv2d_93.
        found = [layer for layer in model.layers if isinstance(layer, kind)]
        return sorted(found, key=lambda layer: int(layer.name.removeprefix(prefix).removeprefix("_") or 0))

    convs = created(keras.layers.Conv2D, "conv2d")
    norms = created(keras.layers.BatchNormalization, "batch_normalization")
    for conv, norm, layer in zip(convs, norms, INCEPTION_V3_KERAS.layers, strict=True):
        conv.set_weights([tensors[f"{layer.scope}/weights"]])
        norm.set_weights([tensors[f"{layer.scope}/{n}"] for n in ("beta", "mean", "variance")])
    model.get_layer("predictions").set_weights([tensors["softmax/weights"], tensors["softmax/biases"]])
    return model


@pytest.fixture(scope="module")
def weights_file(oracle, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("keras") / "weights.h5"
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, oracle)
    return path


# Single positions of mixed_10 carry their rounding in full; in pool_3 it averages out over 64 of them.
@pytest.mark.parametrize(("feature", "bound"), [("pool_3", 1e-4), ("mixed_10", 5e-4), ("softmax", 1e-4)])
def test_equals_keras(oracle, weights_file, feature, bound) -> None:
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (3, 150, 200, 3), dtype=np.uint8)
    extractor = Extractor(
        ExtractSpec(backbone="inception_v3_keras", weights=str(weights_file), feature=feature, devices="cpu")
    )
    actual = extractor.embed(images)
    layer = {"pool_3": "avg_pool", "mixed_10": "mixed10", "softmax": "predictions"}[feature]
    network = keras.Model(oracle.input, oracle.get_layer(layer).output)
    resized = tf.image.resize(images, (299, 299)).numpy()
    expected = network(keras.applications.inception_v3.preprocess_input(resized)).numpy().reshape(3, -1)
    for i in range(3):
        assert np.abs(actual[i] - expected[i]).max() / np.abs(expected[i]).max() < bound
