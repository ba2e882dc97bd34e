from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from pool3.backbones import EFFICIENTNET_LITE0
from pool3.errors import WeightsError
from pool3.weights import LoadedWeights, tensor_digest
from pool3.weights.native import read_native, write_native
from tests.weights.tiny import TINY, assert_same, tiny_tensors


def written(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    write_native(
        path, LoadedWeights(tensors, "custom", "ab" * 32, tensor_digest(tensors), "graphdef", None), TINY
    )
    return path


def test_reads_what_was_written(tmp_path):
    path = written(tmp_path / "w.h5", tiny_tensors())
    assert_same(read_native(path, TINY, need_dense=True), tiny_tensors())
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.h5"]
    with h5py.File(path) as file:
        assert file["tensors/conv/weights"].fletcher32
        assert file.attrs["source_sha256"] == "ab" * 32
        assert file.attrs["tensor_digest"] == tensor_digest(tiny_tensors())


def test_without_a_classifier(tmp_path):
    tensors = {name: tensor for name, tensor in tiny_tensors().items() if not name.startswith("softmax")}
    path = written(tmp_path / "w.h5", tensors)
    assert_same(read_native(path, TINY, need_dense=False), tensors)
    with pytest.raises(WeightsError, match="softmax/weights"):
        read_native(path, TINY, need_dense=True)


def test_flipped_bit_fails_the_checksum(tmp_path):
    path = written(tmp_path / "w.h5", tiny_tensors())
    whole = bytearray(path.read_bytes())
    whole[whole.index(tiny_tensors()["softmax/biases"].tobytes())] ^= 1
    path.write_bytes(whole)
    with pytest.raises(WeightsError, match=r"w\.h5 is a damaged weights file"):
        read_native(path, TINY, need_dense=True)


def test_changed_values_fail_the_digest(tmp_path):
    path = written(tmp_path / "w.h5", tiny_tensors())
    with h5py.File(path, "r+") as file:
        file["tensors/conv/beta"][0] += 1
    with pytest.raises(WeightsError, match="digest"):
        read_native(path, TINY, need_dense=True)


def test_other_backbone_schema_and_damage(tmp_path):
    path = written(tmp_path / "w.h5", tiny_tensors())
    with pytest.raises(WeightsError, match="holds weights of inception_v3, not of efficientnet_lite0"):
        read_native(path, EFFICIENTNET_LITE0, need_dense=True)
    with h5py.File(path, "r+") as file:
        file.attrs["pool3_weights_schema"] = 2
    with pytest.raises(WeightsError, match="schema 2"):
        read_native(path, TINY, need_dense=True)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(WeightsError, match="damaged"):
        read_native(path, TINY, need_dense=True)


def test_output_that_cannot_be_written(tmp_path):
    with pytest.raises(WeightsError, match="could not be written"):
        written(tmp_path / "missing" / "w.h5", tiny_tensors())
