"""Reduced precision: what really ran, when it is chosen, how it is checked on the run's own images; and streams."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import pool3
from pool3 import Extractor, ExtractSpec, devices, precision
from pool3.backbones import EFFICIENTNET_LITE0, INCEPTION_V3, Contract
from pool3.errors import OutputExistsError
from pool3.precision import NONE, choose, smallest_cosine
from pool3.runtime import Runner
from pool3.weights import load_weights
from tests.images import pixels

GOOD = Contract(cosine=0.9995, accuracy=0.1, images=2000, weights="random:0", data="noise")
CPU = devices.Placement(("/CPU:0",), "CPU")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.stack([pixels(32, 32, seed) for seed in range(10)])


def extractor(asked: str) -> Extractor:
    return Extractor(ExtractSpec(backbone="efficientnet_lite0", devices="cpu", batch_size=4, precision=asked))


@pytest.fixture(scope="module")
def full(images) -> np.ndarray:
    return extractor("float32").embed(images)


@pytest.mark.parametrize("backbone", [INCEPTION_V3, EFFICIENTNET_LITE0], ids=lambda b: b.name)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_convolution_runs_in_the_precision(backbone, dtype) -> None:
    weights = load_weights(backbone, "random:0", offline=True)
    runner = Runner(
        backbone,
        weights.tensors,
        backbone.main_feature,
        CPU,
        batch_size=2,  # of one, the stem's layers may run in several bands each
        image_shape=(8, 8),
        precision=dtype,
    )
    found = runner.convolutions()
    assert set(found) == {dtype}
    assert sum(found.values()) == len(backbone.layers)


@pytest.mark.parametrize(("dtype", "least"), [("bfloat16", 0.95), ("float16", 0.9999)])
def test_features_of_reduced_precision_are_near_those_of_float32(images, full, dtype, least) -> None:
    reduced = extractor(dtype).embed(images)
    assert reduced.dtype == np.float32
    assert least < smallest_cosine(reduced, full) < 1
    # The last sum is taken in float32, so the features have more digits than the reduced precision.
    kept = (
        reduced.astype(np.float16)
        if dtype == "float16"
        else (reduced.view(np.uint32) & 0xFFFF0000).view(np.float32)
    )
    assert (kept != reduced)[reduced > 0].mean() > 0.5


def test_a_row_has_the_same_bits_whatever_stands_beside_it_in_bfloat16(images) -> None:
    network = extractor("bfloat16")
    together = network.embed(images)
    np.testing.assert_array_equal(network.embed(images[3:4]), together[3:4])
    np.testing.assert_array_equal(network.embed(images[::-1])[::-1], together)


def test_smallest_cosine() -> None:
    a = np.array([[1, 0], [3, 4], [0, 0]], np.float32)
    assert smallest_cosine(a, a) == 1
    assert smallest_cosine(2 * a, a) == pytest.approx(1)
    b = np.array([[1, 1], [3, 4], [0, 0]], np.float32)
    assert smallest_cosine(a, b) == pytest.approx(np.sqrt(0.5))
    assert smallest_cosine(a[2:], b[:1]) == 0  # a row of zeros is not near another one
    assert smallest_cosine(a[:0], a[:0]) == NONE
    assert smallest_cosine(np.array([[np.inf, 0]], np.float32), a[:1]) == NONE


def never(asked: str) -> float:
    raise AssertionError(f"{asked} was compared")


@pytest.mark.parametrize(
    ("asked", "fast", "contract", "cosine", "expected", "reason", "warning"),
    [
        ("float32", "bfloat16", GOOD, None, ("float32", 1.0), "asked for", ""),
        ("auto", "float32", GOOD, None, ("float32", 1.0), "no BF16", ""),
        ("auto", "bfloat16", GOOD, 0.9991, ("bfloat16", 0.9991), "no BF16", ""),
        ("auto", "bfloat16", None, None, ("float32", 1.0), "was not measured", ""),
        (
            "auto",
            "bfloat16",
            replace(GOOD, cosine=0.998),
            None,
            ("float32", 1.0),
            "cosines down to 0.9980",
            "",
        ),
        (
            "auto",
            "bfloat16",
            replace(GOOD, accuracy=-0.4),
            None,
            ("float32", 1.0),
            "accuracy by -0.40 points",
            "",
        ),
        ("auto", "bfloat16", GOOD, 0.9989, ("float32", 1.0), "0.99890, below", "running in float32"),
        ("auto", "bfloat16", GOOD, NONE, ("float32", 1.0), "could not be compared", ""),
        ("bfloat16", "float32", None, 0.99, ("bfloat16", 0.99), "asked for", "0.99000, below"),
        ("bfloat16", "float32", None, 0.9999, ("bfloat16", 0.9999), "asked for", ""),
        ("float16", "float32", None, NONE, ("float16", NONE), "asked for", "could not be told"),
    ],
)
def test_the_choice(monkeypatch, asked, fast, contract, cosine, expected, reason, warning) -> None:
    monkeypatch.setattr(precision, "choose_precision", lambda _: (fast, "no BF16"))
    backbone = SimpleNamespace(name="net", contracts={} if contract is None else {"bfloat16": contract})
    found = choose(asked, backbone, CPU, never if cosine is None else lambda _: cosine)
    assert (found.precision, found.cosine) == expected
    assert reason in found.reason
    assert warning in found.warning
    assert bool(warning) == bool(found.warning)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [(["avx2"], "float32"), (["avx2", "avx512_bf16"], "bfloat16"), (["amx_bf16"], "bfloat16")],
)
def test_the_quickest_precision_of_a_processor(monkeypatch, flags, expected) -> None:
    monkeypatch.setattr(devices, "cpu_flags", lambda: flags)
    assert devices.choose_precision(CPU)[0] == expected


@pytest.mark.parametrize(
    ("capability", "expected"), [((6, 1), "float32"), ((7, 0), "float16"), ((9, 0), "float16")]
)
def test_the_quickest_precision_of_a_gpu(monkeypatch, capability, expected) -> None:
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda _kind: ["first", "second"])
    details = {"second": {"compute_capability": capability}}
    monkeypatch.setattr("tensorflow.config.experimental.get_device_details", details.get)
    assert devices.choose_precision(devices.Placement(("/GPU:1",), "GPU"))[0] == expected


def test_auto_falls_to_float32_where_the_run_s_own_images_say_so(monkeypatch, images, full, tmp_path) -> None:
    """EfficientNet-Lite0 does not bear bfloat16: with a contract that says otherwise, the run notices by itself."""
    monkeypatch.setattr(precision, "choose_precision", lambda _: ("bfloat16", "it is quick"))
    monkeypatch.setattr(EFFICIENTNET_LITE0, "contracts", {"bfloat16": GOOD})
    with pytest.warns(UserWarning, match=r"running in float32: in bfloat16, the smallest cosine"):
        result = extractor("auto").extract(images, tmp_path / "out.h5")
    assert (result.precision, result.precision_cosine) == ("float32", 1.0)
    with pool3.open_features(result.output) as file:
        assert "below 0.999" in file.provenance.precision_reason
        np.testing.assert_array_equal(file.features[:], full)


def test_an_explicit_request_warns_and_is_kept_by_runs_that_go_on(images, tmp_path) -> None:
    output = tmp_path / "out.h5"

    def stop(done: int, total: int, failures: int) -> None:
        raise KeyboardInterrupt

    network = extractor("bfloat16")
    with pytest.warns(UserWarning, match="bfloat16 moves features"), pytest.raises(KeyboardInterrupt):
        network.extract(images, output, progress=stop)
    result = extractor("auto").extract(images, output)
    assert (result.precision, result.precision_reason) == ("bfloat16", "asked for")
    assert 0.9 < result.precision_cosine < 0.999
    with pool3.open_features(output) as file:
        assert file.provenance.precision_cosine == result.precision_cosine
        np.testing.assert_array_equal(file.features[:], network.embed(images))
    with pytest.raises(OutputExistsError, match="precision: bfloat16 → float32"):
        extractor("float32").extract(images, output)


def test_two_streams_give_the_bits_of_one(monkeypatch, images, full) -> None:
    monkeypatch.setattr("pool3.tuning.STREAMS", 1)
    np.testing.assert_array_equal(extractor("float32").embed(images), full)
