"""What only a GPU can show: that its numbers are the CPU's within a bound, whatever precision, compiler or count."""

import numpy as np
import pytest

from pool3 import Extractor, ExtractSpec, verify
from pool3.classify import classify
from pool3.devices import choose_devices, choose_precision
from pool3.precision import smallest_cosine
from pool3.projection import project
from pool3.verification import BOUNDS
from tests.test_classify import DIGITS, digits, save

pytestmark = pytest.mark.gpu

IMAGES = np.random.default_rng(0).integers(0, 256, (21, 48, 48, 3), dtype=np.uint8)
NETWORKS = ("inception_v3", "efficientnet_lite0")


def embed(backbone: str, **settings) -> np.ndarray:
    weights = "random:0" if backbone == "inception_v3" else None
    spec = ExtractSpec(backbone=backbone, weights=weights, **{"precision": "float32"} | settings)
    return Extractor(spec).embed(IMAGES)


@pytest.fixture(scope="module", params=NETWORKS)
def on_cpu(request) -> tuple[str, np.ndarray]:
    return request.param, embed(request.param, devices="cpu")


def far(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("xla", ["on", "off"])
@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_float32_is_that_of_the_cpu(on_cpu, xla, batch_size) -> None:
    backbone, expected = on_cpu
    assert far(embed(backbone, devices="gpu:0", xla=xla, batch_size=batch_size), expected) < BOUNDS["float32"]


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_reduced_precision_is_within_its_bound(on_cpu, precision) -> None:
    backbone, expected = on_cpu
    found = embed(backbone, devices="gpu:0", precision=precision)
    assert np.isfinite(found).all()
    assert far(found, expected) < BOUNDS[precision]
    assert smallest_cosine(found, expected) > 0.9


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    network = Extractor(ExtractSpec(weights="random:0", devices="gpu:0", precision="float32", batch_size=4))
    every = network.embed(IMAGES)
    for first, stop in ((0, 4), (3, 8), (20, 21)):
        np.testing.assert_array_equal(network.embed(IMAGES[first:stop]), every[first:stop])


def test_every_gpu_gives_the_rows_of_one() -> None:
    if len(choose_devices("gpu").devices) < 2:
        pytest.skip(
            "this machine has one GPU of its model; logical CPU devices show the same in test_devices.py"
        )
    one = embed("inception_v3", devices="gpu:0", batch_size=4, xla="off")
    assert far(embed("inception_v3", devices="gpu", batch_size=4, xla="off"), one) < BOUNDS["float32"]


def test_a_file_is_verified_on_gpu_and_on_cpu(tmp_path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    spec = ExtractSpec(
        weights="random:0", devices="gpu", precision=choose_precision(choose_devices("gpu"))[0]
    )
    Extractor(spec).extract(tmp_path / "images.npy", tmp_path / "out.h5")
    for devices in ("gpu:0", "cpu"):
        assert verify(tmp_path / "out.h5", source=tmp_path / "images.npy", devices=devices).ok


def test_a_gpu_svm_agrees_with_that_of_the_cpu() -> None:
    cuml_svm = pytest.importorskip("cuml.svm", reason="cuML is not installed")
    from sklearn.svm import SVC

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 2000)
    features = (rng.standard_normal((2000, 64)) + 1.5 * np.eye(5, 64)[labels]).astype(np.float32)
    train, test = slice(0, 1000), slice(1000, None)
    ours = cuml_svm.SVC(kernel="linear", C=0.1).fit(features[train], labels[train]).predict(features[test])
    theirs = SVC(kernel="linear", C=0.1).fit(features[train], labels[train]).predict(features[test])
    assert (np.asarray(ours) == theirs).mean() >= 0.995


@pytest.mark.parametrize(
    ("model", "kernel"),
    [("svc", "linear"), ("svc", "rbf"), ("linear-svc", None), ("logistic", None), ("knn", None)],
)
def test_cuml_says_what_scikit_learn_says(tmp_path, model, kernel) -> None:
    features, labels = digits()
    train = save(tmp_path / "train.h5", features[:900], labels[:900], DIGITS)
    test = save(tmp_path / "test.h5", features[900:], labels[900:], DIGITS)
    found, expected = (
        classify(train, test, model=model, kernel=kernel, backend=backend) for backend in ("cuml", "sklearn")
    )
    assert (found.backend, expected.backend) == ("cuml", "sklearn")
    assert np.mean(found.predictions == expected.predictions) >= 0.995


@pytest.mark.parametrize(("method", "plain"), [("tsne", "opentsne"), ("umap", "umap-learn")])
def test_cuml_s_maps_are_as_good_as_those_of_the_cpu(tmp_path, method, plain) -> None:
    """Coordinates differ, from run to run too; how far neighbourhoods are kept must not."""
    features, labels = digits()
    path = save(tmp_path / "digits.h5", features, labels, DIGITS)
    found, expected = (project(path, method=method, backend=backend) for backend in ("cuml", plain))
    assert (found.backend, expected.backend) == ("cuml", plain)
    assert found.quality.trustworthiness == pytest.approx(expected.quality.trustworthiness, abs=0.02)
    assert found.quality.knn_preservation == pytest.approx(expected.quality.knn_preservation, abs=0.1)
