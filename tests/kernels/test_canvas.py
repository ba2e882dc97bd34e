"""Images of several sizes resized together against each resized alone."""

import numpy as np
import pytest
import tensorflow as tf

from pool3_kernels.resize import Canvas, resize_bilinear, resize_canvas
from pool3_kernels.resize.cases import CASES
from pool3_kernels.resize.reference import resize_bilinear as reference
from tests.kernels.running import MODES, run

FITTING = [case for case in CASES if max(case.height, case.width) <= 640]


def canvas(images: list[np.ndarray], side: int) -> Canvas:
    """The images on noise, which must not show."""
    pixels = np.random.default_rng(9).integers(0, 256, (len(images), side, side, 3), dtype=np.uint8)
    for place, image in zip(pixels, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    return Canvas(pixels, np.array([image.shape[:2] for image in images], np.int32))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("half_pixel", [False, True], ids=["tf1", "half-pixel"])
def test_fast_equals_reference(half_pixel: bool, mode: str) -> None:
    images = [case.inputs(batch=1, seed=number)[0] for number, case in enumerate(FITTING)]
    given = canvas(images, 640)

    def fast(pixels, sizes):
        return resize_canvas(Canvas(pixels, sizes), 299, half_pixel=half_pixel)

    actual = run(mode, fast, given.pixels, given.sizes)
    assert actual.shape == (len(images), 299, 299, 3)
    assert actual.dtype == tf.float32
    for image, found in zip(images, actual.numpy(), strict=True):
        expected = reference(image[None], 299, half_pixel=half_pixel)[0]
        assert np.abs(found - expected).max() / 255 < 1e-5
        alone = resize_bilinear(image[None], 299, half_pixel=half_pixel)[0].numpy()
        assert np.abs(found - alone).max() / 255 < 1e-6


def test_neither_the_canvas_nor_a_neighbour_shows() -> None:
    image = CASES[2].inputs(batch=1)[0]
    small = resize_canvas(canvas([image], 32), 299, half_pixel=False)[0]
    large = resize_canvas(canvas([CASES[3].inputs(batch=1)[0], image], 512), 299, half_pixel=False)[1]
    np.testing.assert_array_equal(small.numpy(), large.numpy())
