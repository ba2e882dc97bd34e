from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pool3.backbones import EFFICIENTNET_LITE0, INCEPTION_V3_KERAS
from pool3.errors import WeightsError
from pool3.weights import load_weights, locate
from pool3.weights.torch_pickle import read_torch
from tests.weights.tiny import TINY, Tiny, assert_same, tiny_tensors
from tests.weights.torch_writer import (
    ORDERED_DICT,
    Entry,
    entries_of,
    entry,
    group,
    integer,
    state_dict,
    text,
    torch_arrays,
    write_legacy,
    write_zip,
)

WRITERS = [pytest.param(write_legacy, id="legacy"), pytest.param(write_zip, id="zip")]
both = pytest.mark.parametrize("write", WRITERS)


def read(path: Path, *, need_dense: bool = True) -> dict[str, np.ndarray]:
    return read_torch(path, TINY, need_dense=need_dense)


@both
def test_reads_what_was_written(write, tmp_path):
    path = write(tmp_path / "x.pth", entries_of(tiny_tensors(), TINY))
    assert_same(read(path), tiny_tensors())


@both
@pytest.mark.parametrize("call", ["_rebuild_tensor", "_rebuild_tensor_v2"])
def test_counters_are_ignored_and_old_calls_are_read(write, call, tmp_path):
    entries = entries_of(tiny_tensors(), TINY)
    for item in entries.values():
        item.call = f"torch._utils\n{call}"
    entries["Conv2d_1a_3x3.bn.num_batches_tracked"] = entry(np.array(3, np.int64))
    assert_same(read(write(tmp_path / "x.pth", entries)), tiny_tensors())


@pytest.mark.parametrize("legacy", [True, False])
def test_state_dict_inside_a_checkpoint(legacy, tmp_path):
    entries = entries_of(tiny_tensors(), TINY)
    state = (
        b"}(" + text("epoch") + integer(3) + text("state_dict") + state_dict(entries, legacy=legacy) + b"u"
    )
    path = (write_legacy if legacy else write_zip)(tmp_path / "x.pth", entries, state)
    assert_same(read(path), tiny_tensors())


@both
def test_parameters_are_tensors(write, tmp_path):
    entries = entries_of(tiny_tensors(), TINY)
    pairs = b"".join(
        text(name)
        + b"ctorch._utils\n_rebuild_parameter\n"
        + group(item.pickled(str(key), legacy=write is write_legacy), b"\x88", ORDERED_DICT)
        + b"R"
        for key, (name, item) in enumerate(entries.items())
    )
    assert_same(read(write(tmp_path / "x.pth", entries, ORDERED_DICT + b"(" + pairs + b"u")), tiny_tensors())


@both
def test_strided_views_of_a_larger_storage(write, tmp_path):
    entries = entries_of(tiny_tensors(), TINY)
    name = "Conv2d_1a_3x3.conv.weight"
    array = torch_arrays(tiny_tensors(), TINY)[name]
    turned = np.ascontiguousarray(
        array.transpose(3, 2, 1, 0)
    )  # stored as (w, h, in, out), seen as (out, in, h, w)
    data = np.concatenate([np.full(7, np.nan, np.float32), turned.ravel(), np.full(3, np.nan, np.float32)])
    strides = tuple(step // 4 for step in turned.transpose(3, 2, 1, 0).strides)
    entries[name] = Entry(data.tobytes(), "Float", data.size, array.shape, strides, offset=7)
    assert_same(read(write(tmp_path / "x.pth", entries)), tiny_tensors())


@both
@pytest.mark.parametrize("dtype", ["<f8", "<f2", "<i8", "<i4", "<i2", "|i1", "|u1", "|b1"])
def test_every_storage_type(write, dtype, tmp_path):
    entries = entries_of(tiny_tensors(), TINY)
    values = np.array([0, 1, 1, 3]).astype(dtype)
    entries["Conv2d_1a_3x3.bn.bias"] = entry(values)
    found = read(write(tmp_path / "x.pth", entries))
    np.testing.assert_array_equal(found["conv/beta"], values.astype(np.float32))


@both
def test_bfloat16(write, tmp_path):
    entries = entries_of(tiny_tensors(), TINY)
    bits = np.array([0x3F80, 0xC000, 0x3E20, 0x0000], "<u2")  # 1, −2, 0.15625, 0
    entries["Conv2d_1a_3x3.bn.bias"] = Entry(bits.tobytes(), "BFloat16", 4, (4,), (1,))
    found = read(write(tmp_path / "x.pth", entries))
    np.testing.assert_array_equal(found["conv/beta"], np.array([1, -2, 0.15625, 0], np.float32))


def test_the_real_efficientnet_file():
    loaded = load_weights(EFFICIENTNET_LITE0, offline=True)
    assert (loaded.name, loaded.format) == ("efficientnet_lite0", "torch-legacy")
    assert {name: tensor.shape for name, tensor in loaded.tensors.items()} == EFFICIENTNET_LITE0.tensors()
    # The file's convolutions are permuted views of TensorFlow's arrays: the bytes lie there in canonical order.
    raw = locate(EFFICIENTNET_LITE0).read_bytes()
    for name in ("stem/weights", "blocks_3/depthwise/weights", "blocks_3/project/weights", "head/variance"):
        tensor = loaded.tensors[name]
        assert raw.count(struct.pack("<q", tensor.size) + tensor.astype("<f4").tobytes()) == 1, name


HOSTILE = {
    "os.system": (b"cos\nsystem\n" + group(text("echo bad > hostile")) + b"R", "os.system"),
    "posix by stack": (text("posix") + text("system") + b"\x93" + group(text("echo bad")) + b"R", "posix.system"),
    "inst": (b"(" + text("echo bad > hostile") + b"ios\nsystem\n", "os.system"),
    "eval": (b"cbuiltins\neval\n" + group(text("1")) + b"R", "builtins.eval"),
    "torch's own loader": (b"ctorch.storage\n_load_from_bytes\n" + group(text("1")) + b"R", "torch.storage._load"),
    "extension": (b"\x82\x01", "EXT1"),
    "object": (group(text("x")) + b"o", "pickle"),
    "storage called": (b"ctorch\nFloatStorage\n" + group(integer(1 << 40)) + b"R", "wrong arguments"),
    "tuple as key": (b"}" + b")" + b"N" + b"s", "not text"),
    "not a dict": (b"](" + integer(1) + b"e", "list, not a state dict"),
    "entry no tensor": (b"}" + text("x") + integer(1) + b"s", "'x' is not a tensor"),
    "persistent id": (text("file:/etc/passwd") + b"Q", "not a storage"),
    "underflow": (b"0" * 3, "pickle"),
    "missing memo": (b"h\x09", "damaged"),
}  # fmt: skip


@both
@pytest.mark.parametrize(("state", "named"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_pickles_are_refused(write, state, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "x.pth", {}, state)
    with pytest.raises(WeightsError, match=named.replace(".", r"\.")) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "hostile").exists()


def test_the_hostile_pickles_would_have_acted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(b"\x80\x02" + HOSTILE["os.system"][0] + b".")
    assert (tmp_path / "hostile").exists()


def huge(**changes: object) -> dict[str, Entry]:
    entries = entries_of(tiny_tensors(), TINY)
    for key, value in changes.items():
        setattr(entries["Conv2d_1a_3x3.bn.bias"], key, value)
    return entries


SIZES = {
    "count": {"count": 1 << 50},
    "count beyond 62 bits": {"count": 1 << 63},
    "shape": {"shape": (1 << 50,)},
    "stride": {"strides": (1 << 40,)},
    "stride 0": {"shape": (1 << 40,), "strides": (0,)},
    "offset": {"offset": 1 << 40},
    "negative offset": {"offset": -1},
    "ranks differ": {"strides": (1, 1)},
    "many dimensions": {"shape": (1,) * 99, "strides": (0,) * 99},
    "short storage": {"data": b"\0" * 8},
}


@both
@pytest.mark.parametrize("changes", SIZES.values(), ids=SIZES)
def test_sizes_that_do_not_fit_the_file_are_refused(write, changes, tmp_path):
    with pytest.raises(WeightsError, match=r"x\.pth"):
        read(write(tmp_path / "x.pth", huge(**changes)))


def test_a_pickle_that_never_ends_is_stopped(tmp_path):
    path = write_legacy(tmp_path / "x.pth", {}, b"](" + b"}" * (1 << 21) + b"e")
    with pytest.raises(WeightsError, match="steps"):
        read(path)


@both
def test_truncated_anywhere(write, tmp_path):
    path = write(tmp_path / "x.pth", entries_of(tiny_tensors(), TINY))
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=r"x\.pth"):
            read(path)


def test_zip_with_a_flipped_bit(tmp_path):
    path = write_zip(tmp_path / "x.pth", entries_of(tiny_tensors(), TINY))
    whole = bytearray(path.read_bytes())
    value = torch_arrays(tiny_tensors(), TINY)["fc.weight"].tobytes()
    whole[whole.index(value)] ^= 1
    path.write_bytes(whole)
    with pytest.raises(WeightsError, match=r"x\.pth is damaged"):
        read(path)


def test_compressed_zip_is_refused(tmp_path):
    path = write_zip(tmp_path / "x.pth", entries_of(tiny_tensors(), TINY), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="compressed"):
        read(path)


def test_other_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(WeightsError, match=r"data\.pkl"):
        read(tmp_path / "x.pth")


def test_other_pickle_is_refused(tmp_path):
    (tmp_path / "x.pth").write_bytes(pickle.dumps({"a": 1}, 2))
    with pytest.raises(WeightsError, match="magic"):
        read(tmp_path / "x.pth")


def without(name: str) -> dict[str, Entry]:
    entries = entries_of(tiny_tensors(), TINY)
    del entries[name]
    return entries


@both
def test_missing_tensor_is_named(write, tmp_path):
    with pytest.raises(WeightsError, match=r"x\.pth holds no tensor 'Mixed_5b.branch5x5_2.bn.running_var'"):
        read(write(tmp_path / "x.pth", without("Mixed_5b.branch5x5_2.bn.running_var")))


@both
def test_surplus_tensor_is_named(write, tmp_path):
    entries = entries_of(tiny_tensors(), TINY) | {
        "AuxLogits.conv0.conv.weight": entry(np.zeros((2, 2), np.float32))
    }
    with pytest.raises(WeightsError, match=r"1 tensor.*AuxLogits\.conv0"):
        read(write(tmp_path / "x.pth", entries))


@both
def test_wrong_shape_is_named(write, tmp_path):
    entries = entries_of(tiny_tensors(), TINY) | {"fc.weight": entry(np.zeros((5, 7), np.float32))}
    with pytest.raises(WeightsError, match=r"'fc.weight'.*shape \(5, 7\).*needs \(7, 5\)"):
        read(write(tmp_path / "x.pth", entries))


@both
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite(write, bad, tmp_path):
    entries = entries_of(tiny_tensors(), TINY) | {"fc.bias": entry(np.full(7, bad, np.float64))}
    with pytest.raises(WeightsError, match=r"'fc.bias'.*NaN or infinite"):
        read(write(tmp_path / "x.pth", entries))


def test_negative_variance(tmp_path):
    entries = entries_of(tiny_tensors(), TINY)
    entries["Conv2d_1a_3x3.bn.running_var"] = entry(np.array([1, 1, -1, 1], np.float32))
    with pytest.raises(WeightsError, match="negative variance"):
        read(write_zip(tmp_path / "x.pth", entries))


def test_classifier_may_be_left_out_whole_but_not_half(tmp_path):
    entries = without("fc.bias")
    path = write_legacy(tmp_path / "x.pth", entries)
    for need_dense in (True, False):
        with pytest.raises(WeightsError, match=r"'fc\.bias'"):
            read(path, need_dense=need_dense)
    del entries["fc.weight"]
    write_legacy(path, entries)
    with pytest.raises(WeightsError, match=r"'fc\.weight'"):
        read(path)
    expected = {name: tensor for name, tensor in tiny_tensors().items() if not name.startswith("softmax")}
    assert_same(read(path, need_dense=False), expected)


def test_backbone_without_a_torch_layout(tmp_path):
    path = write_legacy(tmp_path / "x.pth", entries_of(tiny_tensors(), TINY))
    with pytest.raises(WeightsError, match="knows no such file for inception_v3_keras"):
        read_torch(path, Tiny(INCEPTION_V3_KERAS.name), need_dense=True)
