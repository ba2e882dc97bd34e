"""``--fast-decode``: which scale is taken, what stays as it is, and that a file says so."""

import numpy as np
import pytest
import tensorflow as tf

import pool3
from pool3 import Extractor, ExtractSpec
from pool3.backbones import EFFICIENTNET_LITE0, Preprocessing
from pool3.decoding import DECODER_FAST
from pool3.errors import OutputExistsError
from pool3.pipeline import Pipeline
from pool3.sources import open_source
from pool3_kernels.resize import resize_bilinear
from tests.images import pixels, write_image

SIZE = 20
SMALL = Preprocessing("tf1-bilinear", SIZE, 0.0, 1.0)


def decoded(folder, *, fast: bool) -> np.ndarray:
    source = open_source(folder)
    pipeline = Pipeline(source, SMALL, 4, "host", fast_decode=fast)
    batches = list(pipeline.batches([(0, len(source))]))
    assert not any(batch.failures for batch in batches)
    return np.concatenate([batch.images.numpy()[batch.valid] for batch in batches])


@pytest.mark.parametrize(
    ("height", "width", "ratio"),
    [
        (20, 20, 1),
        (39, 300, 2),  # libjpeg rounds up: 20
        (38, 300, 1),
        (40, 41, 2),
        (77, 300, 4),
        (76, 300, 2),
        (153, 160, 8),
        (152, 160, 4),
        (1000, 900, 8),
        (10, 400, 1),
    ],
)
def test_the_smallest_scale_that_is_not_below_the_network_s_size(tmp_path, height, width, ratio) -> None:
    path = write_image(tmp_path / "a.jpg", pixels(height, width))
    expected = tf.io.decode_jpeg(path.read_bytes(), channels=3, ratio=ratio)
    assert min(expected.shape[:2]) >= min(SIZE, height, width)
    expected = resize_bilinear(expected[tf.newaxis], SIZE, half_pixel=False)[0]
    np.testing.assert_array_equal(decoded(tmp_path, fast=True)[0], expected)


def test_other_formats_and_small_images_keep_their_bits(tmp_path) -> None:
    write_image(tmp_path / "a.png", pixels(200, 300))
    write_image(tmp_path / "b.jpg", pixels(30, 30))
    np.testing.assert_array_equal(decoded(tmp_path, fast=True), decoded(tmp_path, fast=False))


def test_a_broken_jpeg_fails_alone(tmp_path) -> None:
    for number in range(5):
        write_image(tmp_path / f"{number}.jpg", pixels(100, 100, number))
    good = decoded(tmp_path, fast=True)
    whole = (tmp_path / "2.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(whole[:20])
    (tmp_path / "3.jpg").write_bytes(b"\xff\xd8\xff no picture")
    source = open_source(tmp_path)
    batches = list(Pipeline(source, SMALL, 4, "host", fast_decode=True).batches([(0, 5)]))
    assert [failure.index for batch in batches for failure in batch.failures] == [1, 3]
    assert {failure.stage for batch in batches for failure in batch.failures} == {"decode"}
    rows = np.concatenate([np.asarray(batch.images)[batch.valid] for batch in batches])
    np.testing.assert_array_equal(rows, good[[0, 2, 4]])


def test_a_file_says_so_is_verified_so_and_is_not_mixed(tmp_path) -> None:
    size = EFFICIENTNET_LITE0.preprocessing.size
    for number in range(3):
        write_image(tmp_path / "images" / f"{number}.jpg", pixels(3 * size, 3 * size, number))

    def extractor(*, fast: bool) -> Extractor:
        return Extractor(
            ExtractSpec(backbone="efficientnet_lite0", devices="cpu", precision="float32", fast_decode=fast)
        )

    images, output = tmp_path / "images", tmp_path / "out.h5"
    extractor(fast=True).extract(images, output)
    with pool3.open_features(output) as file:
        assert file.provenance.decoder == DECODER_FAST
        fast = file.features[:]
    assert pool3.verify(output, source=images, sample=3).ok
    assert np.abs(extractor(fast=False).embed(images) - fast).max() > 1e-3
    with pytest.raises(OutputExistsError, match="decoder"):
        extractor(fast=False).extract(images, output)
