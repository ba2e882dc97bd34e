"""``--resize``: each mode is the function of the tool that it is named for, in every place where it runs."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import pool3
from pool3 import Extractor, ExtractSpec
from pool3.backbones import BACKBONES, RESIZES, Preprocessing
from pool3.errors import MissingLibraryError, OutputExistsError, SpecError
from pool3.pipeline import Pipeline
from pool3.runtime import Runner
from pool3.sources import open_source
from pool3_kernels.resize import resize_clean
from tests.images import pixels, write_image

SIZE = 20


def pillows(image: np.ndarray, size: int) -> np.ndarray:
    """What clean-fid's resizer does: each channel in mode F, bicubic, clipped."""
    planes = [
        Image.fromarray(image[..., i].astype(np.float32)).resize((size, size), Image.BICUBIC)
        for i in range(3)
    ]
    return np.stack([np.asarray(plane).clip(0, 255) for plane in planes], axis=2)


def tensorflows(image: np.ndarray, size: int, *, half_pixel: bool) -> np.ndarray:
    resize = tf.image.resize if half_pixel else tf.compat.v1.image.resize_bilinear
    return resize(image[tf.newaxis], (size, size))[0].numpy()


EXPECTED = {
    "clean": pillows,
    "tf1-bilinear": lambda image, size: tensorflows(image, size, half_pixel=False),
    "bilinear": lambda image, size: tensorflows(image, size, half_pixel=True),
}


def resized(source, resize: str, batch_size: int = 3, **settings: object) -> np.ndarray:
    images = open_source(source)
    pipeline = Pipeline(images, Preprocessing(resize, SIZE, 0.0, 1.0), batch_size, "host", **settings)
    batches = list(pipeline.batches([(0, len(images))]))
    assert not any(batch.failures for batch in batches)
    return np.concatenate([np.asarray(batch.images)[batch.valid] for batch in batches])


def test_every_mode_is_tested() -> None:
    assert set(EXPECTED) == set(RESIZES)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 11])
@pytest.mark.parametrize("resize", RESIZES)
def test_images_of_any_size(tmp_path, resize, batch_size) -> None:
    shapes = [
        (1, 1),
        (7, 90),
        (20, 20),
        (200, 13),
        (33, 47),
        (20, 64),
        (150, 150),
        (3, 3),
        (64, 64),
        (21, 19),
    ]
    images = [pixels(*shape, seed) for seed, shape in enumerate(shapes)]
    for number, image in enumerate(images):
        write_image(tmp_path / f"{number}.png", image)
    found = resized(tmp_path, resize, batch_size)
    expected = np.stack([EXPECTED[resize](image, SIZE) for image in images])
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32


def test_arrays_and_encoded_images_alike(tmp_path) -> None:
    images = np.stack([pixels(32, 32, seed) for seed in range(5)])
    np.save(tmp_path / "images.npy", images)
    expected = np.stack([pillows(image, SIZE) for image in images])
    np.testing.assert_array_equal(resized(tmp_path / "images.npy", "clean"), expected)


def test_clean_filters_what_bilinear_aliases() -> None:
    """Of stripes two pixels wide, one in eight pixels is taken: grey if filtered, black or white if not."""
    stripes = np.repeat(np.tile([[0, 0, 255, 255]], (160, 40))[..., None], 3, axis=2).astype(np.uint8)
    assert np.abs(resize_clean(stripes, SIZE)[5:-5, 5:-5] - 127.5).max() < 5
    assert np.abs(EXPECTED["tf1-bilinear"](stripes, SIZE) - 127.5).min() > 100


def test_clean_does_not_round_and_stays_within_the_levels() -> None:
    edges = np.zeros((40, 40, 3), np.uint8)
    edges[:, 20:] = 255
    image = resize_clean(edges, 299)  # bicubic overshoots at an edge
    assert (image.min(), image.max()) == (0, 255)
    assert (image % 1 != 0).any()


def test_a_broken_image_fails_alone(tmp_path) -> None:
    for number in range(12):
        write_image(tmp_path / f"{number}.png", pixels(30 + number, 40, number))
    good = resized(tmp_path, "clean", 12)
    (tmp_path / "5.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    images = open_source(tmp_path)
    batches = list(Pipeline(images, Preprocessing("clean", SIZE, 0.0, 1.0), 12, "host").batches([(0, 12)]))
    assert [(f.index, f.stage) for batch in batches for f in batch.failures] == [(5, "decode")]
    rows = np.concatenate([np.asarray(batch.images)[batch.valid] for batch in batches])
    np.testing.assert_array_equal(rows, np.delete(good, 5, axis=0))


def extractor(resize: str = "", **settings: object) -> Extractor:
    spec = {"backbone": "efficientnet_lite0", "weights": "random:1", "devices": "cpu", "precision": "float32"}
    return Extractor(ExtractSpec(**(spec | settings), resize=resize))


@pytest.mark.parametrize("resize", RESIZES)
def test_features_are_those_of_images_that_were_resized_before(tmp_path, resize) -> None:
    """On the device for arrays of one size, on the host for files; the network's own resize has nothing left to do."""
    images = np.stack([pixels(60, 80, seed) for seed in range(3)])
    for number, image in enumerate(images):
        write_image(tmp_path / "images" / f"{number}.png", image)
    made = extractor(resize)
    from_files, from_arrays = made.embed(tmp_path / "images"), made.embed(images)
    np.testing.assert_allclose(from_files, from_arrays, rtol=1e-4, atol=1e-5)
    backbone, size = made.backbone, made.backbone.preprocessing.size
    runner = Runner(
        backbone, made.weights.tensors, made.spec.feature, made.placement, batch_size=3, image_shape=None
    )
    expected = runner(tf.constant(np.stack([EXPECTED[resize](image, size) for image in images])))
    np.testing.assert_allclose(from_files, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("resize", ["clean", "tf1-bilinear"])
def test_a_file_says_so_is_verified_so_and_is_not_mixed(tmp_path, resize) -> None:
    for number in range(3):
        write_image(tmp_path / "images" / f"{number}.png", pixels(300, 280, number))
    images, output = tmp_path / "images", tmp_path / "out.h5"
    extractor(resize).extract(images, output)
    with pool3.open_features(output) as file:
        assert file.provenance.preprocessing.startswith(f"resize={resize}:224x224; ")
        assert ("pillow" in file.provenance.libraries) == (resize == "clean")
        features = file.features[:]
    checked = pool3.verify(output, source=images, sample=3)
    assert checked.ok, checked.summary
    assert np.abs(extractor().embed(images) - features).max() > 1e-3
    with pytest.raises(OutputExistsError, match="preprocessing"):
        extractor().extract(images, output)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_default_is_the_backbone_s_own(backbone) -> None:
    assert ExtractSpec(backbone=backbone).resize == BACKBONES[backbone].preprocessing.resize
    recorded = str(BACKBONES[backbone].preprocessing)
    assert Preprocessing.recorded_resize(recorded) == BACKBONES[backbone].preprocessing.resize
    assert Preprocessing.recorded_resize("something else") == ""


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(SpecError, match="choose one of tf1-bilinear, bilinear, clean"):
        ExtractSpec(resize="lanczos")


def test_without_pillow_the_others_work(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'pool3\[clean\]'"):
        extractor("clean")
    assert extractor("bilinear").preprocessing.resize == "bilinear"


def test_command_resize(tmp_path) -> None:
    write_image(tmp_path / "a.png", pixels(300, 280))
    command = [
        sys.executable,
        "-m",
        "pool3.cli",
        "extract",
        str(tmp_path / "a.png"),
        "-o",
        str(tmp_path / "a.h5"),
    ]
    settings = ["--backbone", "efficientnet_lite0", "--weights", "random:1", "--resize"]
    done = subprocess.run([*command, *settings, "clean"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pool3.open_features(tmp_path / "a.h5") as file:
        assert "resize=clean" in file.provenance.preprocessing
    done = subprocess.run([*command, *settings, "cubic"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Unknown resize" in done.stderr
