from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pool3.backbones import INCEPTION_V3, INCEPTION_V3_KERAS
from pool3.errors import WeightsError
from pool3.weights import load_weights, random_tensors
from pool3.weights.keras_h5 import keras3_order
from tests.weights.tiny import assert_same

TENSORS = random_tensors(INCEPTION_V3_KERAS, 11)
WITHOUT_TOP = {name: tensor for name, tensor in TENSORS.items() if not name.startswith("softmax")}


def numbered(model: Any, kind: str) -> list[Any]:
    """Layers in the order in which they were made, which their names count."""
    found = [layer for layer in model.layers if re.fullmatch(rf"{kind}(_\d+)?", layer.name)]
    return sorted(found, key=lambda layer: int(layer.name.removeprefix(kind).removeprefix("_") or 0))


def filled(*, top: bool) -> Any:
    """Keras' model with known weights, put in by the order in which its source makes the layers."""
    import keras

    model = keras.applications.InceptionV3(weights=None, include_top=top, classifier_activation=None)
    convs, norms = numbered(model, "conv2d"), numbered(model, "batch_normalization")
    for layer, conv, norm in zip(INCEPTION_V3_KERAS.layers, convs, norms, strict=True):
        conv.set_weights([TENSORS[f"{layer.scope}/weights"]])
        norm.set_weights([TENSORS[f"{layer.scope}/{name}"] for name in ("beta", "mean", "variance")])
    if top:
        model.get_layer("predictions").set_weights([TENSORS["softmax/weights"], TENSORS["softmax/biases"]])
    return model


@pytest.fixture(scope="module")
def model() -> Any:
    return filled(top=True)


@pytest.fixture(scope="module")
def files(model: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    folder = tmp_path_factory.mktemp("keras")
    found = {
        name: folder / f"{name}.weights.h5" for name in ("legacy", "keras3", "legacy-notop", "keras3-notop")
    }
    headless = filled(top=False)
    for kind, network in (("", model), ("-notop", headless)):
        with h5py.File(found[f"legacy{kind}"], "w") as file:
            save_weights_to_hdf5_group(file, network)
        network.save_weights(found[f"keras3{kind}"])
    return found


@pytest.mark.parametrize("layout", ["legacy", "keras3"])
def test_reads_what_keras_wrote(layout, files):
    loaded = load_weights(INCEPTION_V3_KERAS, str(files[layout]))
    assert (loaded.format, loaded.name) == ("keras-legacy" if layout == "legacy" else "keras3", "custom")
    assert_same(loaded.tensors, TENSORS)


@pytest.mark.parametrize("layout", ["legacy-notop", "keras3-notop"])
def test_files_without_a_classifier(layout, files):
    assert_same(load_weights(INCEPTION_V3_KERAS, str(files[layout]), need_dense=False).tensors, WITHOUT_TOP)
    with pytest.raises(WeightsError, match=r"softmax/weights"):
        load_weights(INCEPTION_V3_KERAS, str(files[layout]))


def test_the_network_gives_what_keras_gives(model, files):
    tensors = load_weights(INCEPTION_V3_KERAS, str(files["keras3"])).tensors
    pixels = np.random.default_rng(0).integers(0, 256, (1, 299, 299, 3)).astype(np.float32)
    ours = np.asarray(INCEPTION_V3_KERAS.build(tensors, ("logits",))(pixels)["logits"])
    theirs = np.asarray(model(pixels / 127.5 - 1, training=False))
    assert np.ptp(theirs) > 1
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


def test_the_order_of_keras_3_is_not_the_order_of_making():
    order = keras3_order(INCEPTION_V3_KERAS)
    made = tuple(layer.scope for layer in INCEPTION_V3_KERAS.layers)
    assert order != made
    assert sorted(order) == sorted(made)


def test_names_that_start_at_one_and_have_suffixes(files, tmp_path):
    """The published files of 2016 count from 1 and end weights' names in ':0'."""
    with h5py.File(files["legacy"]) as source, h5py.File(tmp_path / "old.h5", "w") as target:

        def old(name: str) -> str:
            match = re.fullmatch(r"(conv2d|batch_normalization)(?:_(\d+))?", name)
            return f"{match[1]}_{int(match[2] or 0) + 1}" if match else name

        names = list(source.attrs["layer_names"])
        target.attrs["layer_names"] = [old(name).encode() for name in names]
        for name in names:
            group = target.create_group(old(name))
            weights = [str(weight) for weight in source[name].attrs["weight_names"]]
            renamed = [f"{old(name)}/{weight.rpartition('/')[2]}:0" for weight in weights]
            group.attrs["weight_names"] = [weight.encode() for weight in renamed]
            for weight, new in zip(weights, renamed, strict=True):
                group[new] = source[name][weight][()]
    assert_same(load_weights(INCEPTION_V3_KERAS, str(tmp_path / "old.h5")).tensors, TENSORS)


@pytest.fixture
def copy(files, tmp_path):
    def make(layout: str) -> Path:
        return Path(shutil.copy(files[layout], tmp_path / "x.h5"))

    return make


def test_missing_layer(copy):
    path = copy("keras3")
    with h5py.File(path, "r+") as file:
        del file["layers/conv2d_93"]
    with pytest.raises(WeightsError, match=r"x\.h5 holds 93 convolutions and 94 batch norms"):
        load_weights(INCEPTION_V3_KERAS, str(path))


def test_missing_variable(copy):
    path = copy("keras3")
    with h5py.File(path, "r+") as file:
        del file["layers/batch_normalization_3/vars/2"]
    with pytest.raises(WeightsError, match=r"2 variables in '/layers/batch_normalization_3'"):
        load_weights(INCEPTION_V3_KERAS, str(path))


def test_wrong_shape(copy):
    path = copy("legacy")
    with h5py.File(path, "r+") as file:
        name = next(str(name) for name in file.attrs["layer_names"] if str(name).startswith("conv2d"))
        del file[f"{name}/{name}/kernel"]
        file[f"{name}/{name}/kernel"] = np.zeros((3, 3, 1, 32), np.float32)
    with pytest.raises(WeightsError, match=r"'conv/weights' in .*\(3, 3, 1, 32\).*\(3, 3, 3, 32\)"):
        load_weights(INCEPTION_V3_KERAS, str(path))


@pytest.mark.parametrize("layout", ["legacy", "keras3"])
def test_truncated(layout, copy):
    path = copy(layout)
    path.write_bytes(path.read_bytes()[:1_000_000])
    with pytest.raises(WeightsError, match=r"x\.h5 is a damaged HDF5 file"):
        load_weights(INCEPTION_V3_KERAS, str(path))


def test_other_backbone(files):
    with pytest.raises(WeightsError, match="name --backbone inception_v3_keras"):
        load_weights(INCEPTION_V3, str(files["legacy"]))
