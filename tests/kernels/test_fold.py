"""Folding changes no result: folded convolution + bias against convolution, then batch norm, in float64."""

import numpy as np
import pytest
import tensorflow as tf

from pool3_kernels.fold import fold_batch_norm
from pool3_kernels.fold.cases import CASES, Case
from pool3_kernels.fold.reference import conv_batch_norm
from tests.kernels.running import MODES, run


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_folded_equals_plain(case: Case, mode: str) -> None:
    arrays = case.inputs()
    x, gamma = arrays.pop("x"), arrays.pop("gamma", None)
    weights = arrays.pop("weights")
    expected = conv_batch_norm(
        x,
        weights,
        gamma=gamma,
        epsilon=0.001,
        stride=case.stride,
        padding=case.padding,
        depthwise=case.depthwise,
        **arrays,
    )
    folded, bias = fold_batch_norm(weights, gamma=gamma, epsilon=0.001, depthwise=case.depthwise, **arrays)
    assert folded.dtype == bias.dtype == np.float32

    def fast(images):
        if case.depthwise:
            y = tf.nn.depthwise_conv2d(images, folded, (1, case.stride, case.stride, 1), case.padding)
        else:
            y = tf.nn.conv2d(images, folded, case.stride, case.padding)
        return tf.nn.bias_add(y, bias)

    actual = run(mode, fast, x)
    error = np.abs(actual.numpy() - expected).max() / np.abs(expected).max()
    assert error < 1e-5


def test_gamma_of_none_means_ones() -> None:
    arrays = CASES[0].inputs()
    arrays.pop("x")
    weights, gamma = arrays.pop("weights"), arrays.pop("gamma")
    without = fold_batch_norm(weights, gamma=None, epsilon=0.001, **arrays)
    with_ones = fold_batch_norm(weights, gamma=np.ones_like(gamma), epsilon=0.001, **arrays)
    with_gamma = fold_batch_norm(weights, gamma=gamma, epsilon=0.001, **arrays)
    np.testing.assert_array_equal(without[0], with_ones[0])
    assert np.abs(with_gamma[0] - without[0]).max() > 0.01
