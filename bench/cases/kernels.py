"""What each kernel buys: its fast form beside the plain one, on a shape of the network from the kernel's own cases.

A row's limit is the same work in the plain form, so a fraction above one is what the fast form gains. Kernels are
imported by the case that needs them: the gate runs these cases with trees that may lack one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import tensorflow as tf

from bench.measure import Case, Work

BATCH = 8
CALLS = 16
"""Calls a sample, each of a batch: one of a single layer is too short to time."""

_ABOUT = {
    "average_pool": "an average pool in bfloat16",
    "bands": "the stem of Inception-v3, one step at a time",
    "fold": "a convolution with batch norm",
    "resize": "32² to 299²",
    "resize/canvas": "32² to 299² by way of a canvas",
    "swap": "a pool branch of mixed_5",
}

_Form = Callable[[], Any]
"""A kernel on tensors that are there already."""


def kernel_cases() -> Iterator[Case]:
    """Two rows a kernel, fast and plain."""
    pairs = {
        "average_pool": _average_pool,
        "bands": _bands,
        "fold": _fold,
        "resize": _resize,
        "resize/canvas": _canvas,
        "swap": _swap,
    }
    for name, pair in pairs.items():
        for number, form in enumerate(("fast", "plain")):
            yield Case(
                f"kernel/{name}/{form}",
                "images",
                CALLS * BATCH,
                partial(_repeated, pair, number),
                limit=f"kernel/{name}/plain" if form == "fast" else "",
                about=f"{_ABOUT[name]}, {form} form",
            )


def _repeated(pair: Callable[[], tuple[_Form, _Form]], number: int) -> Work:
    compiled = tf.function(pair()[number], autograph=False)

    def call() -> None:
        for _ in range(CALLS):
            last = compiled()
        tf.reshape(last, -1)[0].numpy()  # waits for the device

    return Work(call, lambda: tf.cast(compiled(), tf.float32).numpy())


def _average_pool() -> tuple[_Form, _Form]:
    """The pool of ``mixed_5`` in bfloat16: in its own dtype where that sums in float32, and by way of float32."""
    from pool3_kernels import average_pool
    from pool3_kernels.average_pool import cases, reference

    x = tf.cast(cases.CASES[2].inputs(BATCH), tf.bfloat16)
    native = average_pool.sums_in_float32(tf.bfloat16)
    return (
        lambda: average_pool.average_pool(x, 3, 1, "SAME", native=native),
        lambda: reference.average_pool(x, 3, 1, "SAME"),
    )


def _bands() -> tuple[_Form, _Form]:
    """The stem in bands of rows, one a core, and as a whole: what one thread an operation makes of one step alone."""
    from pool3.backbones.inception_v3 import MOST_BANDS
    from pool3.devices import cores
    from pool3_kernels import bands
    from pool3_kernels.bands import cases, reference

    case = cases.CASES[0]
    chain = case.chain(tf.float32)
    x = tf.constant(case.inputs(BATCH))
    return lambda: bands.in_bands(x, chain, min(cores(), MOST_BANDS)), lambda: reference.whole(x, chain)


def _fold() -> tuple[_Form, _Form]:
    """A 1×1 convolution of ``mixed_4``: with batch norm in its weights, and with batch norm after it."""
    from pool3_kernels import fold
    from pool3_kernels.fold import cases

    case = cases.CASES[1]
    arrays = case.inputs(BATCH)
    x, weights, gamma = (tf.constant(arrays.pop(name)) for name in ("x", "weights", "gamma"))
    folded, bias = fold.fold_batch_norm(
        weights.numpy(), gamma=gamma.numpy(), epsilon=0.001, depthwise=False, **arrays
    )
    beta, mean, variance = (tf.constant(arrays[name]) for name in ("beta", "mean", "variance"))

    def plain() -> Any:
        y = tf.nn.conv2d(x, weights, case.stride, case.padding)
        return tf.nn.relu(tf.nn.batch_normalization(y, mean, variance, beta, gamma, 0.001))

    return (
        lambda: tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, folded, case.stride, case.padding), bias)),
        plain,
    )


def _resize() -> tuple[_Form, _Form]:
    """CIFAR's images to 299²: across and then down where that is cheaper, and by TensorFlow's op alone."""
    from pool3_kernels import resize
    from pool3_kernels.resize import cases

    case = cases.CASES[2]
    images = tf.constant(case.inputs(BATCH))
    return (
        lambda: resize.resize_bilinear(images, case.size, half_pixel=False),
        lambda: tf.raw_ops.ResizeBilinear(images=images, size=(case.size, case.size)),
    )


def _canvas() -> tuple[_Form, _Form]:
    """The same as images of several sizes, which a GPU takes, and together as images of one size."""
    from pool3_kernels import resize
    from pool3_kernels.resize import cases

    case = cases.CASES[2]
    images = tf.constant(case.inputs(BATCH))
    canvas = resize.Canvas(images, tf.tile([[case.height, case.width]], (BATCH, 1)))
    return (
        lambda: resize.resize_canvas(canvas, case.size, half_pixel=False),
        lambda: resize.resize_bilinear(images, case.size, half_pixel=False),
    )


def _swap() -> tuple[_Form, _Form]:
    """The pool branch of ``mixed_5``: its 1×1 convolution first, and its pool first."""
    from pool3_kernels import swap
    from pool3_kernels.swap import cases

    x, weights, bias = cases.CASES[2].inputs(BATCH)
    x = tf.constant(x)

    def conv(y: Any) -> Any:
        return tf.nn.bias_add(tf.nn.conv2d(y, weights, 1, "SAME"), bias)

    def pool(y: Any) -> Any:
        return tf.nn.avg_pool2d(y, 3, 1, "SAME")

    return lambda: tf.nn.relu(swap.conv_pool(x, conv, pool)), lambda: tf.nn.relu(conv(pool(x)))
