"""The three ways of an image to the network give the same pixels, and the canvas loses nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import pool3
from pool3 import Extractor, ExtractSpec
from pool3.backbones import Preprocessing
from pool3.decoding import CANVASES
from pool3.errors import SpecError
from pool3.pipeline import Pipeline
from pool3.sources import open_source
from pool3_kernels.resize import Canvas, resize_canvas
from tests.images import pixels, write_folder, write_image

SMALL = Preprocessing("tf1-bilinear", 20, 128.0, 0.0078125)
WEBP = b"RIFF\x1c\x00\x00\x00WEBPVP8L\x0f\x00\x00\x00\x2f\x00\x00\x00\x00\x07\x10\xfd\x8f\xfe\x07\x22\xa2\xff\x01\x00"


class Collected:
    """All batches of a source by one route.

    Attributes:
        images: (N, S, S, 3) float32 of the rows that are valid.
        indices: of these.
        failures: (index, stage, message).
        sides: of each batch's canvas; 0 where it came resized.
    """

    def __init__(self, folder: Path, route: str, batch_size: int = 4, *, fast: bool = False) -> None:
        source = open_source(folder)
        pipeline = Pipeline(source, SMALL, batch_size, route, fast_decode=fast)
        images, self.indices, self.failures, self.sides = [], [], [], []
        for batch in pipeline.batches([(0, len(source))]):
            found = batch.images
            self.sides.append(0)
            if isinstance(found, Canvas):
                assert found.pixels.dtype == tf.uint8
                self.sides[-1] = found.pixels.shape[1]
                found = resize_canvas(found, SMALL.size, half_pixel=False)
            assert found.shape == (batch_size, SMALL.size, SMALL.size, 3)
            images.append(np.asarray(found)[batch.valid])
            self.indices += (batch.start + np.flatnonzero(batch.valid)).tolist()
            self.failures += [(f.index, f.stage, f.message) for f in batch.failures]
        self.images = np.concatenate(images)


@pytest.mark.parametrize("fast", [False, True], ids=["full", "fast"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_canvas_and_host_agree(tmp_path, suffix, fast) -> None:
    sizes = [(1, 1), (5, 32), (32, 32), (33, 7), (64, 64), (20, 65), (300, 200), (512, 9), (513, 9), (8, 700)]
    for number, (height, width) in enumerate(sizes):
        write_image(tmp_path / f"{number:02}{suffix}", pixels(height, width, number))
    host, canvas = (Collected(tmp_path, route, 1, fast=fast) for route in ("host", "canvas"))
    assert canvas.indices == host.indices == list(range(len(sizes)))
    assert np.abs(canvas.images - host.images).max() / 255 < 1e-6
    if not fast:
        longer = [max(size) for size in sizes]
        assert canvas.sides == [next((side for side in CANVASES if side >= s), 0) for s in longer]
    elif suffix == ".jpg":
        assert canvas.sides[6] == 64  # 300×200 at an eighth: 38×25


def test_an_image_of_unknown_size_takes_its_span_to_the_host(tmp_path) -> None:
    write_image(tmp_path / "a.png", pixels(30, 30))
    (tmp_path / "b.webp").write_bytes(WEBP)
    write_image(tmp_path / "c.png", pixels(40, 20))
    canvas, host = Collected(tmp_path, "canvas", 2), Collected(tmp_path, "host", 2)
    assert canvas.sides == [0, 64]
    assert canvas.indices == [0, 1, 2]
    assert np.abs(canvas.images - host.images).max() / 255 < 1e-6


def test_raw_arrays_of_several_sizes_share_a_canvas(tmp_path) -> None:
    images = [pixels(10 + 3 * n, 50 - 2 * n, n) for n in range(6)]
    for number, image in enumerate(images):
        np.save(tmp_path / f"{number}.npy", image[np.newaxis])
    sources = [str(tmp_path / f"{n}.npy") for n in range(6)]
    canvas, host = Collected(sources, "canvas"), Collected(sources, "host")
    assert canvas.sides == [64, 64]
    assert np.abs(canvas.images - host.images).max() / 255 < 1e-6


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_failures_cost_no_neighbour_and_are_told_alike(tmp_path, batch_size) -> None:
    for number in range(12):
        write_image(tmp_path / f"{number:02}.{'jpg' if number % 2 else 'png'}", pixels(40, 30, number))
    good = Collected(tmp_path, "host", batch_size).images
    broken = {
        1: b"",
        2: b"\x89PNG\r\n\x1a\n",  # ends before its size
        3: b"\xff\xd8\xff no picture",
        6: b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xff\xff\xff\xff\xff\xff\xff",  # says it is negative
        8: (tmp_path / "08.png").read_bytes()[:90],
        9: b"not an image",
    }
    for number, content in broken.items():
        (tmp_path / f"{number:02}.{'jpg' if number % 2 else 'png'}").write_bytes(content)
    canvas, host = Collected(tmp_path, "canvas", batch_size), Collected(tmp_path, "host", batch_size)
    assert canvas.failures == host.failures
    assert [index for index, _, _ in canvas.failures] == sorted(broken)
    assert canvas.indices == [0, 4, 5, 7, 10, 11]
    assert np.abs(canvas.images - good[canvas.indices]).max() / 255 < 1e-6


def test_a_header_that_lies_about_the_size_is_a_failure_or_the_true_image(tmp_path) -> None:
    """The size on the canvas is that of the pixels, whatever the header said."""
    for number in range(3):
        write_image(tmp_path / f"{number}.png", pixels(30, 30, number))
    content = bytearray((tmp_path / "1.png").read_bytes())
    content[16:20] = (20).to_bytes(4, "big")  # its checksum no longer holds
    (tmp_path / "1.png").write_bytes(content)
    canvas, host = Collected(tmp_path, "canvas"), Collected(tmp_path, "host")
    assert canvas.failures == host.failures
    assert canvas.indices == host.indices
    assert np.abs(canvas.images - host.images).max() / 255 < 1e-6


@pytest.mark.parametrize("devices", ["cpu", "cpu:0,1"])
def test_features_by_every_route(tmp_path, devices) -> None:
    """At the command line: seven images of which one is too large for a canvas, in batches of two."""
    write_folder(tmp_path / "images", 6)
    write_image(tmp_path / "images" / "z" / "large.png", pixels(600, 40))
    features = {}
    for resize_on, route in (("host", "host"), ("device", "canvas")):
        output = tmp_path / f"{resize_on}.h5"
        options = ["--backbone", "efficientnet_lite0", "--batch-size", "2", "--precision", "float32"]
        options += ["--devices", devices, "--resize-on", resize_on]
        made = subprocess.run(
            [
                sys.executable,
                "-m",
                "pool3.cli",
                "extract",
                tmp_path / "images",
                "-o",
                output,
                "--json",
                *options,
            ],
            capture_output=True,
            check=True,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        )
        assert json.loads(made.stdout)["rows"] == 7
        with pool3.open_features(output) as file:
            assert file.provenance.route == route
            features[route] = file.features[:]
    difference = np.abs(features["canvas"] - features["host"]).max() / np.abs(features["host"]).max()
    assert difference < 1e-5
    assert pool3.verify(tmp_path / "device.h5", source=tmp_path / "images", sample=7).ok


def test_arrays_of_one_size_by_either_route() -> None:
    images = np.stack([pixels(20, 30, seed) for seed in range(5)])
    found = [
        Extractor(
            ExtractSpec(backbone="efficientnet_lite0", devices="cpu", batch_size=2, resize_on=where)
        ).embed(images)
        for where in ("host", "device")
    ]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("resize_on", "one_size", "on_gpu", "route"),
    [
        ("auto", True, False, "device"),
        ("auto", False, False, "host"),
        ("auto", False, True, "canvas"),
        ("host", True, True, "host"),
        ("device", False, False, "canvas"),
    ],
)
def test_the_route_that_is_taken(resize_on, one_size, on_gpu, route) -> None:
    assert ExtractSpec(resize_on=resize_on).route(one_size=one_size, on_gpu=on_gpu) == route


def test_an_unknown_place_is_refused() -> None:
    with pytest.raises(SpecError, match="choose one of auto, host, device"):
        ExtractSpec(resize_on="cloud")
