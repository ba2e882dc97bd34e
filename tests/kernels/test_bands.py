"""Bands of rows hold what the whole holds, bit for bit, and are what Inception-v3 runs where one image is alone."""

import numpy as np
import pytest
import tensorflow as tf

from pool3.backbones import INCEPTION_V3, INCEPTION_V3_KERAS
from pool3.weights import random_tensors
from pool3_kernels.bands import Window, in_bands
from pool3_kernels.bands.cases import CASES, Case
from pool3_kernels.bands.reference import whole
from tests.graphs import waiting
from tests.kernels.running import MODES, run


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fast_equals_reference(case: Case, dtype: tf.DType, mode: str) -> None:
    chain = case.chain(dtype)
    x = case.inputs().astype(dtype.as_numpy_dtype)
    expected = run(mode, lambda y: whole(y, chain), x)
    for count in (1, 2, 3, 4):
        found = run(mode, lambda y, count=count: in_bands(y, chain, count), x)
        np.testing.assert_array_equal(found.numpy(), expected.numpy())


def test_a_band_is_a_row_at_least() -> None:
    case = CASES[-1]
    chain = case.chain(tf.float32)
    x = tf.constant(case.inputs())
    rows = whole(x, chain).shape[1]
    np.testing.assert_array_equal(in_bands(x, chain, rows), whole(x, chain))


@pytest.mark.parametrize(("size", "stride"), [((3, 3), 2), ((2, 2), 1), ((3, 2), 1)])
def test_uneven_padding_is_refused(size: tuple[int, int], stride: int) -> None:
    with pytest.raises(ValueError, match="unevenly"):
        Window(size, stride, "SAME", lambda x, _: x)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("backbone", [INCEPTION_V3, INCEPTION_V3_KERAS], ids=lambda backbone: backbone.name)
def test_lanes_change_no_bit_of_any_feature(backbone, precision) -> None:
    tensors = random_tensors(backbone, 0)
    pixels = tf.constant(np.random.default_rng(0).integers(0, 256, (1, 299, 299, 3)).astype(np.float32))
    wanted = tuple(name for name in backbone.features if name not in ("pool", "logits", "softmax"))

    def features(lanes: int, names: tuple[str, ...] = wanted) -> dict[str, np.ndarray]:
        network = backbone.build(tensors, names, precision, lanes=lanes)
        return {name: value.numpy() for name, value in tf.function(network, autograph=False)(pixels).items()}

    expected = features(1)
    for lanes in (2, 3, 16):
        for name, value in features(lanes).items():
            np.testing.assert_array_equal(value, expected[name], err_msg=f"{name}, {lanes} lanes")
    # The feature inside of the chain that is cut into bands.
    np.testing.assert_array_equal(features(2, ("pool",))["pool"], features(1, ("pool",))["pool"])


def test_lanes_hold_every_branch_once_the_longest_by_itself() -> None:
    graph = (
        tf.function(
            INCEPTION_V3.build(random_tensors(INCEPTION_V3, 0), ("pool_3",), lanes=2), autograph=False
        )
        .get_concrete_function(tf.TensorSpec((1, 299, 299, 3), tf.float32))
        .graph
    )
    # Of the branches of a module, one begins a lane of its own and another the second: the rest wait. Nine modules
    # of four branches, two of three.
    assert waiting(graph) == 9 * 2 + 2 * 1
