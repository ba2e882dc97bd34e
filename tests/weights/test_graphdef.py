from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from pool3.backbones import EFFICIENTNET_LITE0
from pool3.errors import WeightsError
from pool3.weights.graphdef import MEMBER, read_graph
from tests.weights.graph_writer import make_graph
from tests.weights.tiny import TINY, assert_same, tiny_tensors


def write(path: Path, graph: object) -> Path:
    path.write_bytes(graph.SerializeToString())  # type: ignore[attr-defined]
    return path


def read(path: Path, *, need_dense: bool = True) -> dict[str, np.ndarray]:
    return read_graph(path, TINY, need_dense=need_dense)


def test_reads_what_was_written(tmp_path):
    assert_same(read(write(tmp_path / "g.pb", make_graph(tiny_tensors(), TINY))), tiny_tensors())


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_reads_the_archive(mode, tmp_path):
    content = make_graph(tiny_tensors(), TINY).SerializeToString()
    with tarfile.open(tmp_path / "inception.tgz", mode) as archive:
        for name, data in {"README": b"hello", f"./{MEMBER}": content}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    assert_same(read(tmp_path / "inception.tgz"), tiny_tensors())
    whole = (tmp_path / "inception.tgz").read_bytes()
    (tmp_path / "inception.tgz").write_bytes(whole[: len(content) // 2])
    with pytest.raises(WeightsError, match=r"inception\.tgz"):
        read(tmp_path / "inception.tgz")


def test_archive_without_the_graph(tmp_path):
    with tarfile.open(tmp_path / "x.tgz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("README"))
    with pytest.raises(WeightsError, match=MEMBER):
        read(tmp_path / "x.tgz")


def test_gamma_takes_no_part_without_scale_after_normalization(tmp_path):
    found = read(write(tmp_path / "g.pb", make_graph(tiny_tensors(), TINY, scale=False)))
    expected = tiny_tensors()
    for layer in TINY.layers:
        assert not np.array_equal(expected[f"{layer.scope}/gamma"], np.ones(layer.channels))
        expected[f"{layer.scope}/gamma"] = np.ones(layer.channels, np.float32)
    assert_same(found, expected)


def test_other_epsilon_is_refused(tmp_path):
    path = write(tmp_path / "g.pb", make_graph(tiny_tensors(), TINY, epsilon=0.0011))
    with pytest.raises(WeightsError, match=r"'conv/batchnorm' in .*variance_epsilon 0\.0011.*0\.001"):
        read(path)


def test_other_batch_norm_is_refused(tmp_path):
    path = write(tmp_path / "g.pb", make_graph(tiny_tensors(), TINY, op="FusedBatchNorm"))
    with pytest.raises(WeightsError, match="found: FusedBatchNorm"):
        read(path)


def test_missing_and_surplus_constants_are_named(tmp_path):
    graph = make_graph(tiny_tensors(), TINY)
    node = next(node for node in graph.node if node.name == "conv/batchnorm/moving_mean")
    node.name = "conv_9/batchnorm/moving_mean"
    with pytest.raises(WeightsError, match="conv_9/batchnorm/moving_mean"):
        read(write(tmp_path / "g.pb", graph))
    graph.node.remove(node)
    with pytest.raises(WeightsError, match="holds no tensor 'conv/batchnorm/moving_mean'"):
        read(write(tmp_path / "g.pb", graph))


def test_wrong_shape_is_refused_before_it_is_allocated(tmp_path):
    graph = make_graph(tiny_tensors(), TINY)
    node = next(node for node in graph.node if node.name == "conv/conv2d_params")
    node.attr["value"].tensor.tensor_shape.dim[0].size = 1 << 40
    with pytest.raises(WeightsError, match=r"'conv/conv2d_params'.*1099511627776"):
        read(write(tmp_path / "g.pb", graph))


def test_damaged_constant(tmp_path):
    graph = make_graph(tiny_tensors(), TINY)
    node = next(node for node in graph.node if node.name == "conv/conv2d_params")
    node.attr["value"].tensor.tensor_content = node.attr["value"].tensor.tensor_content[:-8]
    with pytest.raises(WeightsError, match=r"'conv/conv2d_params'.*damaged"):
        read(write(tmp_path / "g.pb", graph))


def test_truncated_and_foreign_files(tmp_path):
    path = write(tmp_path / "g.pb", make_graph(tiny_tensors(), TINY))
    whole = path.read_bytes()
    for content in (whole[:-1], whole[: len(whole) // 2], b"", b"\x0a\xff\xff\xff"):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"g\.pb"):
            read(path)


def test_classifier_may_be_left_out(tmp_path):
    tensors = {name: tensor for name, tensor in tiny_tensors().items() if not name.startswith("softmax")}
    path = write(tmp_path / "g.pb", make_graph(tensors, TINY))
    assert_same(read(path, need_dense=False), tensors)
    with pytest.raises(WeightsError, match="softmax/weights"):
        read(path)


def test_other_backbone(tmp_path):
    path = write(tmp_path / "g.pb", make_graph(tiny_tensors(), TINY))
    with pytest.raises(WeightsError, match="efficientnet_lite0"):
        read_graph(path, EFFICIENTNET_LITE0, need_dense=True)
