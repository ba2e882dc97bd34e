"""pool3's Inception-v3 against the graph of 2015, run by TensorFlow itself.

The graph is written with the names, ops and preprocessing of ``classify_image_graph_def.pb`` and seeded weights; both
sides get the same weights (through the ``.pb`` file) and the same pixels. The bound is 1e-4 relative: the largest
difference by the largest value, image by image.
"""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from bench.graph2015 import graph_2015, session_2015
from pool3.backbones import INCEPTION_V3
from pool3.extractor import Extractor
from pool3.spec import ExtractSpec
from pool3.weights import random_tensors

BOUND = 1e-4
SIZES = (
    (1, 1), (1, 7), (2, 3), (8, 8), (31, 33), (32, 32), (48, 64), (75, 75), (100, 201), (201, 100),
    (298, 300), (299, 299), (299, 1), (300, 300), (375, 500), (512, 512), (601, 77), (480, 640),
)  # fmt: skip


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """Waves of colour and noise: structure for the network, and no two alike."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        128 + 90 * np.sin(x * rng.uniform(0, 0.5) + y * rng.uniform(0, 0.5) + c) for c in rng.uniform(0, 6, 3)
    ]
    noise = rng.normal(0, 12, (height, width, 3))
    return np.clip(np.stack(waves, axis=-1) + noise, 0, 255).astype(np.uint8)


def relative(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module")
def graph():
    return graph_2015(random_tensors(INCEPTION_V3, 7))


@pytest.fixture(scope="module")
def weights_file(graph, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "classify_image_graph_def.pb"
    path.write_bytes(graph.SerializeToString())
    return path


@pytest.fixture(scope="module")
def extractor(weights_file) -> Extractor:
    return Extractor(ExtractSpec(weights=str(weights_file), devices="cpu", batch_size=4))


@pytest.fixture(scope="module")
def session(graph):
    with session_2015(graph) as opened:
        yield opened


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [picture(*size, seed) for seed, size in enumerate(SIZES)]


def write_all(folder: Path, pictures: list[np.ndarray], suffix: str) -> list[str]:
    encode = {"png": tf.io.encode_png, "jpg": lambda x: tf.io.encode_jpeg(x, quality=85)}[suffix]
    paths = []
    for number, pixels in enumerate(pictures):
        path = folder / f"{number:02}.{suffix}"
        path.write_bytes(encode(pixels).numpy())
        paths.append(str(path))
    return paths


def test_pixels_at_decode_jpeg(session, extractor, pictures, tmp_path) -> None:
    features = extractor.embed(write_all(tmp_path, pictures, "png"))
    assert features.shape == (len(SIZES), 2048)
    for i, pixels in enumerate(pictures):
        expected = session.run("pool_3:0", {"DecodeJpeg:0": pixels}).ravel()
        assert relative(features[i], expected) < BOUND, SIZES[i]
    # The bound would mean nothing if all images looked alike to the network.
    assert relative(features[0], features[5]) > 100 * BOUND


def test_jpeg_strings_at_decode_jpeg_contents(session, extractor, pictures, tmp_path) -> None:
    paths = write_all(tmp_path, pictures, "jpg")
    features = extractor.embed(paths)
    for i, path in enumerate(paths):
        expected = session.run("pool_3:0", {"DecodeJpeg/contents:0": Path(path).read_bytes()}).ravel()
        assert relative(features[i], expected) < BOUND, SIZES[i]


def test_another_jpeg_decoder_would_be_noticed(session, pictures) -> None:
    """The default IDCT is part of the numbers: the accurate one moves them by more than the bound."""
    jpeg = tf.io.encode_jpeg(pictures[5], quality=85)
    other = tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE").numpy()
    default = session.run("pool_3:0", {"DecodeJpeg/contents:0": jpeg.numpy()}).ravel()
    assert relative(session.run("pool_3:0", {"DecodeJpeg:0": other}).ravel(), default) > BOUND


@pytest.mark.parametrize("size", [(32, 32), (201, 100)])
def test_arrays_against_batches_at_expand_dims(graph, extractor, size) -> None:
    """Arrays take the device route; the graph gets them as FID tools feed them."""
    images = np.stack([picture(*size, seed) for seed in range(6)])
    features = extractor.embed(images)
    with session_2015(graph, batched=True) as session:
        expected = session.run("pool_3:0", {"images:0": images.astype(np.float32)}).reshape(6, 2048)
    for i in range(6):
        assert relative(features[i], expected[i]) < BOUND


@pytest.mark.parametrize(("feature", "tensor"), [("mixed_10", "mixed_10/join:0"), ("mixed_3", "mixed_3/join:0"),
                                                 ("pool", "pool:0"), ("softmax", "softmax:0")])  # fmt: skip
def test_named_features(session, weights_file, pictures, feature, tensor) -> None:
    extractor = Extractor(
        ExtractSpec(weights=str(weights_file), feature=feature, devices="cpu", batch_size=2)
    )
    images = pictures[5][np.newaxis].repeat(2, axis=0)
    expected = session.run(tensor, {"DecodeJpeg:0": pictures[5]})
    assert expected.shape[1:] == tuple(INCEPTION_V3.features[feature]) or feature == "softmax"
    assert relative(extractor.embed(images)[1], expected.ravel()) < BOUND


def test_seeded_activations_neither_die_nor_explode(session, pictures) -> None:
    """What makes seeded weights a fair stand-in: every stage keeps a spread, and images stay apart."""
    for tensor in ("pool:0", "mixed_2/join:0", "mixed_7/join:0", "mixed_10/join:0"):
        values = session.run(tensor, {"DecodeJpeg:0": pictures[5]})
        assert np.isfinite(values).all()
        assert 0.01 < values.std() < 100
        assert 0.05 < (values > 0).mean() < 0.95
