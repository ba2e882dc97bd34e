from __future__ import annotations

import numpy as np
import pytest

from pool3.backbones import BACKBONES, INCEPTION_V3
from pool3.weights import random_tensors, tensor_digest


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
def test_shapes_seeds_and_spread(backbone):
    tensors = random_tensors(backbone, 0)
    assert {name: tensor.shape for name, tensor in tensors.items()} == backbone.tensors()
    assert tensor_digest(tensors) == tensor_digest(random_tensors(backbone, 0))
    assert tensor_digest(tensors) != tensor_digest(random_tensors(backbone, 1))
    for name, tensor in tensors.items():
        assert tensor.dtype == np.float32
        assert np.isfinite(tensor).all()
        assert len(np.unique(tensor)) > 0.9 * tensor.size or tensor.size > 1 << 16, name
        if name.endswith("/variance"):
            assert (tensor > 0).all()
            assert tensor.max() / tensor.min() > 2
        if name.endswith("/gamma"):
            assert 0.6 <= tensor.min() < 0.9
            assert 1.1 < tensor.max() <= 1.4
        if name.endswith("/beta"):
            assert tensor.min() < 0 < tensor.max()
            assert np.abs(tensor).max() < 1


@pytest.mark.parametrize(
    ("name", "seed"), [("inception_v3", 0), ("inception_v3", 1), ("efficientnet_lite0", 0)]
)
def test_features_live_and_differ(name, seed):
    backbone = BACKBONES[name]
    side = backbone.preprocessing.size
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2, side, side, 3))
    coarse = (
        rng.integers(0, 256, (2, 8, 8, 3)).repeat(-(-side // 8), 1).repeat(-(-side // 8), 2)[:, :side, :side]
    )
    pixels = np.concatenate([noise, coarse]).astype(np.float32)
    network = backbone.build(random_tensors(backbone, seed), (backbone.main_feature,))
    features = np.asarray(network(pixels)[backbone.main_feature])
    assert np.isfinite(features).all()
    assert (features.std(1) > 0.1).all()
    assert (features.std(1) < 10).all()
    for one, other in ((0, 1), (2, 3), (0, 2)):
        assert np.linalg.norm(features[one] - features[other]) > 0.1 * np.linalg.norm(features[one])


def test_digest_sees_names_shapes_and_values():
    one = {"a": np.zeros((2, 3), np.float32), "b": np.ones(1, np.float32)}
    digests = {
        tensor_digest(tensors)
        for tensors in (
            one,
            {"a": one["a"].reshape(3, 2), "b": one["b"]},
            {"a": one["a"], "c": one["b"]},
            {"a": one["a"], "b": one["b"] + 1},
            {"a": one["a"]},
        )
    }
    assert len(digests) == 5
    assert tensor_digest({"b": one["b"], "a": np.asfortranarray(one["a"])}) == tensor_digest(one)


def test_digest_is_what_it_always_was():
    tensors = {"x/beta": np.array([1, -2], np.float32)}
    assert tensor_digest(tensors) == "05a83e4016fd8105a6e184f5c3fccabd14e152b659bff82b85364854d724e8ee"
    assert tensor_digest(random_tensors(INCEPTION_V3, 0)) != tensor_digest(tensors)
