"""Every image once, in order, by either route; one that fails takes no neighbour with it."""

import base64
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pool3.backbones import Preprocessing
from pool3.errors import ExtractionError, SourceError
from pool3.pipeline import Pipeline, clean_message
from pool3.sources import open_source
from pool3_kernels.resize.reference import resize_bilinear
from tests.images import pixels, write_folder, write_image

OPAQUE_WEBP = "UklGRhwAAABXRUJQVlA4TA8AAAAvAAAAAAcQ/Y/+ByKi/wEA"
TRANSPARENT_WEBP = "UklGRhwAAABXRUJQVlA4TA8AAAAvAAAAEAcQ/Y8CBiKi/wEA"
SMALL = Preprocessing("tf1-bilinear", 16, 128.0, 0.0078125)


def collect(pipeline: Pipeline, ranges) -> tuple[list[int], np.ndarray, list]:
    indices, images, failures = [], [], []
    for batch in pipeline.batches(ranges):
        assert batch.images.shape[0] == pipeline.batch_size
        indices += (batch.start + np.flatnonzero(batch.valid)).tolist()
        images.append(np.asarray(batch.images)[batch.valid])
        failures += batch.failures
    return indices, np.concatenate(images), failures


@pytest.mark.parametrize("batch_size", [1, 3, 7, 32])
@pytest.mark.parametrize("count", [1, 7, 20])
def test_every_image_once_and_in_order(tmp_path: Path, batch_size: int, count: int) -> None:
    paths = write_folder(tmp_path, count)
    source = open_source(tmp_path)
    indices, images, failures = collect(Pipeline(source, SMALL, batch_size, "host"), [(0, count)])
    assert indices == list(range(count))
    assert failures == []
    for image, path in zip(images, paths, strict=True):
        decoded = tf.io.decode_image(path.read_bytes(), channels=3).numpy()
        np.testing.assert_allclose(image, resize_bilinear(decoded[None], 16, half_pixel=False)[0], rtol=1e-5)


def test_ranges_are_kept_apart(tmp_path: Path) -> None:
    write_folder(tmp_path, 20)
    pipeline = Pipeline(open_source(tmp_path), SMALL, 4, "host")
    ranges = [(2, 9), (12, 13), (16, 20)]
    spans = [(batch.start, batch.count) for batch in pipeline.batches(ranges)]
    assert spans == [(2, 4), (6, 3), (12, 1), (16, 4)]


def test_the_routes_agree() -> None:
    """Arrays of one size, resized on the device, against the same arrays resized one by one on the host."""
    images = np.stack([pixels(20, 30, seed) for seed in range(9)])
    source = open_source(images)
    on_host = collect(Pipeline(source, SMALL, 4, "host"), [(0, 9)])[1]
    raw = collect(Pipeline(source, SMALL, 4, "device"), [(0, 9)])[1]
    np.testing.assert_array_equal(raw, images)
    on_device = tf.raw_ops.ResizeBilinear(images=raw, size=(16, 16)).numpy()
    np.testing.assert_array_equal(on_host, on_device)


def test_arrays_and_png_files_give_the_same_pixels(tmp_path: Path) -> None:
    images = [pixels(20, 30, seed) for seed in range(3)]
    for i, image in enumerate(images):
        write_image(tmp_path / f"{i}.png", image)
    from_files = collect(Pipeline(open_source(tmp_path), SMALL, 2, "host"), [(0, 3)])[1]
    from_arrays = collect(Pipeline(open_source(np.stack(images)), SMALL, 2, "host"), [(0, 3)])[1]
    np.testing.assert_array_equal(from_files, from_arrays)


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_failures_are_recorded_and_cost_no_neighbour(tmp_path: Path, batch_size: int) -> None:
    paths = write_folder(tmp_path, 12, classes=1, suffix=".jpg")
    good = collect(Pipeline(open_source(tmp_path), SMALL, batch_size, "host"), [(0, 12)])[1]
    paths[1].write_bytes(b"")
    paths[2].write_bytes(b"not an image")
    paths[5].write_bytes(paths[5].read_bytes()[:100])
    source = open_source(tmp_path)
    paths[8].unlink()
    indices, images, failures = collect(Pipeline(source, SMALL, batch_size, "host"), [(0, 12)])
    assert indices == [0, 3, 4, 6, 7, 9, 10, 11]
    np.testing.assert_array_equal(images, good[indices])
    assert [(f.index, f.stage) for f in failures] == [
        (1, "decode"),
        (2, "decode"),
        (5, "decode"),
        (8, "open"),
    ]
    assert [f.id for f in failures] == [source.ids[f.index] for f in failures]
    assert failures[3].error == "FileNotFoundError"
    for failure in failures:
        assert str(tmp_path) not in failure.message
        assert "{{" not in failure.message
        assert "[Op:" not in failure.message


def test_digests_are_those_of_the_files(tmp_path: Path) -> None:
    paths = write_folder(tmp_path, 5)
    batches = list(Pipeline(open_source(tmp_path), SMALL, 4, "host").batches([(0, 5)]))
    digests = np.concatenate([batch.content_sha256[batch.valid] for batch in batches])
    assert [d.tobytes() for d in digests] == [hashlib.sha256(p.read_bytes()).digest() for p in paths]
    assert not batches[1].content_sha256[1:].any()


def test_a_source_that_ends_early_is_an_error(tmp_path: Path) -> None:
    write_folder(tmp_path, 6)
    source = open_source(tmp_path)
    whole = source.read
    source.read = lambda start, stop: whole(start, min(stop, 4))
    with pytest.raises(SourceError, match="ended at image 4"):
        collect(Pipeline(source, SMALL, 3, "host"), [(0, 6)])


@pytest.mark.parametrize(
    ("shape", "content", "said"),
    [
        ((4, 4), b"bytes", "must be an array"),
        ((4, 4), np.zeros((1, 1, 3), np.uint8), "received (1, 1, 3)"),
        ((4, 4), np.full((4, 4, 3), 300.7), "float64"),
        (None, np.zeros((0, 0, 3), np.uint8), "received (0, 0, 3)"),
        (None, np.zeros((4, 4), np.uint8), "received (4, 4)"),
    ],
)
def test_a_source_is_held_to_its_promise(shape, content, said) -> None:
    source = open_source(np.zeros((2, 4, 4, 3), np.uint8))
    source.image_shape = shape
    source.read = lambda start, stop: iter([content] * (stop - start))
    with pytest.raises(SourceError, match=re.escape(said)):
        collect(Pipeline(source, SMALL, 2, "host" if shape is None else "device"), [(0, 2)])


@pytest.mark.parametrize("error", [tf.errors.ResourceExhaustedError, tf.errors.InternalError])
def test_trouble_that_is_not_the_images_is_no_failure_of_theirs(tmp_path, monkeypatch, error) -> None:
    write_folder(tmp_path, 3)
    pipeline = Pipeline(open_source(tmp_path), SMALL, 2, "host")

    def broken(reader, ranges):
        yield from ()
        raise error(None, None, "trouble")

    monkeypatch.setattr(Pipeline, "_dataset", lambda _, reader, ranges: broken(reader, ranges))
    with pytest.raises(ExtractionError, match="trouble"):
        collect(pipeline, [(0, 3)])


def test_webp_with_and_without_transparency(tmp_path: Path) -> None:
    """One red pixel, lossless; what is transparent keeps its colour."""
    (tmp_path / "opaque.webp").write_bytes(base64.b64decode(OPAQUE_WEBP))
    (tmp_path / "transparent.webp").write_bytes(base64.b64decode(TRANSPARENT_WEBP))
    _, images, failures = collect(Pipeline(open_source(tmp_path), SMALL, 2, "host"), [(0, 2)])
    assert failures == []
    assert images[:, 3, 3].tolist() == [[255, 0, 0]] * 2


@pytest.mark.parametrize(("format_", "animated"), [("gif", True), ("bmp", False)])
def test_other_formats(tmp_path: Path, format_: str, animated: bool) -> None:
    """The first frame of an animation; a BMP's rows the right way up."""
    if animated:
        # two frames of one pixel, red and blue, written by hand
        frame = b"\x2c\0\0\0\0\1\0\1\0\x80%s\2\2\x44\1\0"
        data = b"GIF89a\1\0\1\0\0\0\0" + frame % b"\xff\0\0\0\0\0" + frame % b"\0\0\xff\0\0\0" + b";"
        expected = np.array([[[255, 0, 0]]], np.uint8)
    else:
        header = b"BM" + (62).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
        header += (40).to_bytes(4, "little") + (1).to_bytes(4, "little") + (2).to_bytes(4, "little")
        header += (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24)
        data = header + bytes([1, 2, 3, 0]) + bytes([4, 5, 6, 0])  # bottom row first, blue green red
        expected = np.array([[[6, 5, 4]], [[3, 2, 1]]], np.uint8)
    (tmp_path / f"x.{format_}").write_bytes(data)
    images = collect(Pipeline(open_source(tmp_path), SMALL, 1, "host"), [(0, 1)])[1]
    np.testing.assert_allclose(images[0], resize_bilinear(expected[None], 16, half_pixel=False)[0])


def test_clean_message_keeps_the_reason_alone() -> None:
    raw = "{{function_node __wrapped__X_device_/job:localhost}} Input is empty. [Op:DecodeImage] name: x"
    assert clean_message(raw) == "Input is empty."
    graph = (
        "Graph execution error:\n\nDetected at node x defined at\n\nUnknown image format.\n\t [[{{node x}}]]"
    )
    assert clean_message(graph) == "Unknown image format."
    traced = (
        "Graph execution error:\n\nDetected at node x defined at (most recent call last):\n"
        '  File "/somewhere/bin/pool3", line 6, in <module>\n    main()\n\nInput is empty.\n'
        "\t [[{{node x}}]] [Op:__inference_decode_429]"
    )
    assert clean_message(traced) == "Input is empty."
    several = (
        "2 root error(s) found.\n  (0) INVALID_ARGUMENT:  Input is empty.\n\t [[{{node x}}]]\n"
        "  (1) INVALID_ARGUMENT:  Other.\n0 successful operations."
    )
    assert clean_message(several) == "Input is empty."
    assert clean_message("") == "unknown error"
