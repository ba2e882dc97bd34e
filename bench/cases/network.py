"""The network alone, the blog's loop around it, and the machine's limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bench.graph2015 import graph_2015, session_2015
from bench.measure import Work
from bench.peers.limit import OPERATIONS as INCEPTION_OPERATIONS
from bench.peers.limit import best_product
from pool3.backbones import INCEPTION_V3, Tensors, get_backbone
from pool3.devices import Placement, choose_devices, choose_precision
from pool3.runtime import Runner
from pool3.streams import STREAMS, in_streams
from pool3.weights import random_tensors

IMAGES = 64
"""Of a sample of the forward pass: a multiple of every batch size."""

OPERATIONS = {"inception_v3": INCEPTION_OPERATIONS, "efficientnet_lite0": 0.775e9}
"""Of one image, by network; a multiplication and an addition are two. TensorFlow's profiler counts them."""

_GPU_SIDE, _GPU_PRODUCTS = 8192, 32
"""Side of the matrices whose product is a GPU's limit, and products in a row."""


def quick_precisions() -> set[str]:
    """Float32, and what the device computes quicker: others would take minutes, to no one's use."""
    return {"float32", choose_precision(choose_devices("auto"))[0]}


@cache
def _tensors(backbone: str) -> Tensors:
    return random_tensors(get_backbone(backbone), 0)


def blog_loop(images: int) -> Work:
    """The blog's own way: the graph of 2015 in a session, one image at a time at ``DecodeJpeg:0``."""
    stack = ExitStack()
    session = stack.enter_context(session_2015(graph_2015(_tensors(INCEPTION_V3.name))))
    pixels = np.random.default_rng(0).integers(0, 256, (images, 32, 32, 3), dtype=np.uint8)
    fetch = session.graph.get_tensor_by_name("pool_3:0")

    def call() -> None:
        for image in pixels:
            session.run(fetch, {"DecodeJpeg:0": image})

    def output() -> NDArray[np.float32]:
        features: NDArray[np.float32] = session.run(fetch, {"DecodeJpeg:0": pixels[0]})
        return features

    # The session lives as long as the call that uses it.
    call.stack = stack  # type: ignore[attr-defined]
    return Work(call, output)


class _Images(NamedTuple):
    """A batch for `in_streams`."""

    images: Any


def forward(backbone: str, batch_size: int, precision: str) -> Callable[[], Work]:
    """The network alone, from float32 pixels that are resized already, in batches and streams as a run has them."""

    def setup() -> Work:
        network = get_backbone(backbone)
        placement = choose_devices("auto")
        runner = Runner(
            network,
            _tensors(backbone),
            network.main_feature,
            placement,
            batch_size=batch_size,
            image_shape=None,
            precision=precision,
            xla=placement.on_gpu,
        )
        side = network.preprocessing.size
        batch = _Images(tf.random.stateless_uniform((batch_size, side, side, 3), (0, 0), 0, 255))

        def call() -> None:
            for _ in in_streams(runner, repeat(batch, IMAGES // batch_size), STREAMS):
                pass

        return Work(call, lambda: runner(batch.images), precision)

    return setup


def limit(precision: str) -> Callable[[], Work]:
    """The best matrix product of some shapes, told in images of Inception-v3 a second; on GPUs a large one."""

    def setup() -> Work:
        placement = choose_devices("auto")
        return Work(_products(placement, precision) if placement.on_gpu else best_product(precision, IMAGES))

    return setup


def _products(placement: Placement, precision: str) -> Callable[[], float]:
    """Seconds of `IMAGES` images by the rate of large products on all devices at once."""
    pairs = []
    for device in placement.devices:
        with tf.device(device):
            pairs.append(
                [
                    tf.cast(tf.random.stateless_normal((_GPU_SIDE, _GPU_SIDE), (n, 0)), precision)
                    for n in (0, 1)
                ]
            )

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def multiply() -> list[Any]:
        sums = []
        for device, (a, b) in zip(placement.devices, pairs, strict=True):
            with tf.device(device):
                for _ in range(_GPU_PRODUCTS):
                    a = tf.linalg.matmul(a, b)
                sums.append(tf.reduce_max(a))
        return sums

    images = 2.0 * _GPU_SIDE**3 * _GPU_PRODUCTS * len(pairs) / INCEPTION_OPERATIONS

    def call() -> float:
        start = time.perf_counter()
        for value in multiply():
            value.numpy()  # waits for the device
        return (time.perf_counter() - start) * IMAGES / images

    return call
