"""The resize against the equation, in every place where pool3 runs it, and against TensorFlow's op bit for bit."""

import numpy as np
import pytest
import tensorflow as tf

from pool3_kernels.resize import resize_bilinear
from pool3_kernels.resize.cases import CASES, Case
from pool3_kernels.resize.reference import resize_bilinear as reference
from tests.kernels.running import MODES, run


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("half_pixel", [False, True], ids=["tf1", "half-pixel"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fast_equals_reference(case: Case, half_pixel: bool, mode: str) -> None:
    images = case.inputs()
    expected = reference(images, case.size, half_pixel=half_pixel)

    def fast(x):
        return resize_bilinear(x, case.size, half_pixel=half_pixel)

    actual = run(mode, fast, images)
    assert actual.shape == (2, case.size, case.size, 3)
    assert actual.dtype == tf.float32
    assert np.abs(actual.numpy() - expected).max() / expected.max() < 1e-5


@pytest.mark.parametrize("known", [True, False], ids=["known size", "any size"])
@pytest.mark.parametrize("half_pixel", [False, True], ids=["tf1", "half-pixel"])
@pytest.mark.parametrize("dtype", [tf.uint8, tf.float32], ids=["uint8", "float32"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_way_on_a_cpu_gives_the_bits_of_the_op(
    case: Case, dtype: tf.DType, half_pixel: bool, known: bool
) -> None:
    images = tf.cast(case.inputs(), dtype)
    spec = tf.TensorSpec(images.shape if known else (None, None, None, 3), dtype)

    @tf.function(input_signature=[spec], autograph=False)
    def fast(x):
        return resize_bilinear(x, case.size, half_pixel=half_pixel)

    assert fast.get_concrete_function().output_shapes == (spec.shape[0], case.size, case.size, 3)
    plain = tf.raw_ops.ResizeBilinear(
        images=images, size=(case.size, case.size), half_pixel_centers=half_pixel
    )
    np.testing.assert_array_equal(fast(images), plain)
    on_a_gpu = resize_bilinear(images, case.size, half_pixel=half_pixel, cpu=False)
    np.testing.assert_array_equal(on_a_gpu, plain)


def test_half_pixel_is_what_tf_image_resize_does() -> None:
    images = CASES[4].inputs()
    np.testing.assert_array_equal(
        resize_bilinear(images, 299, half_pixel=True).numpy(), tf.image.resize(images, (299, 299)).numpy()
    )


def test_the_two_mappings_differ() -> None:
    images = CASES[2].inputs()
    tf1 = resize_bilinear(images, 299, half_pixel=False).numpy()
    assert np.abs(tf1 - resize_bilinear(images, 299, half_pixel=True).numpy()).max() > 1


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    images = CASES[2].inputs(batch=5)
    together = resize_bilinear(images, 299, half_pixel=False).numpy()
    for i in range(5):
        np.testing.assert_array_equal(
            resize_bilinear(images[i : i + 1], 299, half_pixel=False)[0], together[i]
        )
