"""An average pool in its own dtype equals the one summed in float32, bit for bit, wherever it may be used."""

import numpy as np
import pytest
import tensorflow as tf

from pool3.backbones.ops import Ops
from pool3_kernels.average_pool import average_pool, sums_in_float32
from pool3_kernels.average_pool.cases import CASES, Case
from pool3_kernels.average_pool.reference import average_pool as reference
from tests.kernels.running import MODES, run

DTYPES = ("float32", "bfloat16", "float16")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fast_equals_reference(case: Case, dtype: str, mode: str) -> None:
    x = case.inputs().astype(tf.dtypes.as_dtype(dtype).as_numpy_dtype)
    native = sums_in_float32(dtype)
    actual = run(mode, lambda y: average_pool(y, 3, 1, "SAME", native=native), x)
    expected = reference(tf.constant(x), 3, 1, "SAME")
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(
        tf.cast(actual, tf.float32).numpy(), tf.cast(expected, tf.float32).numpy(), strict=True
    )


def test_the_mean_leaves_the_padding_out() -> None:
    ones = average_pool(tf.ones((1, 4, 4, 2)), 3, 1, "SAME", native=True)
    np.testing.assert_array_equal(ones.numpy(), np.ones((1, 4, 4, 2)))


def test_a_kernel_that_sums_in_its_own_dtype_is_found_out(monkeypatch) -> None:
    def narrow(x, size, stride, padding):
        """One addition after the other, each rounded to the dtype, as a kernel without a wide sum does."""
        total = tf.zeros_like(x[:, :1, :1])
        for row in range(size):
            for column in range(size):
                total = total + x[:, row : row + 1, column : column + 1]
        return total / tf.cast(size * size, x.dtype)

    plain = tf.nn.avg_pool2d

    def pool(x, size, stride, padding):
        return (plain if x.dtype == tf.float32 else narrow)(x, size, stride, padding)

    assert sums_in_float32("float32")
    monkeypatch.setattr(tf.nn, "avg_pool2d", pool)
    assert not sums_in_float32("bfloat16")
    assert not sums_in_float32("float16")


@pytest.mark.parametrize("variables", [False, True], ids=["constants", "variables"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_networks_pool_with_the_sums_of_float32(dtype: str, variables: bool) -> None:
    x = tf.cast(CASES[1].inputs(), dtype)
    expected = reference(x, 3, 1, "SAME")
    actual = Ops(dtype, {}, variables=variables).average_pool(x, 3, 1, "SAME")
    assert bool(tf.reduce_all(actual == expected))
