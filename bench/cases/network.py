"""The network alone, the blog's loop around it, and the machine's limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import cache
from itertools import repeat
from typing import Any, NamedTuple

import tensorflow as tf

from bench.blog import BlogLoop
from bench.measure import Work
from bench.peers.limit import OPERATIONS as INCEPTION_OPERATIONS
from bench.peers.limit import best_product
from bench.threads import cores
from pool3.backbones import Tensors, get_backbone
from pool3.devices import Placement, choose_devices, choose_precision
from pool3.runtime import Runner
from pool3.streams import in_streams
from pool3.weights import random_tensors

LIMIT_IMAGES = 64
"""That a sample of the limit is told in."""

OPERATIONS = {"inception_v3": INCEPTION_OPERATIONS, "efficientnet_lite0": 0.775e9}
"""Of one image, by network; a multiplication and an addition are two. TensorFlow's profiler counts them."""

_GPU_SIDE, _GPU_PRODUCTS = 8192, 32
"""Side of the matrices whose product is a GPU's limit, and products in a row."""


def images(batch_size: int) -> int:
    """Of a sample of the forward pass: 32 or more, a batch for each core again and again; the same for every tree."""
    together = batch_size * max(2, cores())
    return together * math.ceil(32 / together)


def quick_precisions() -> set[str]:
    """Float32, and what the device computes quicker: others would take minutes, to no one's use."""
    return {"float32", choose_precision(choose_devices("auto"))[0]}


@cache
def _tensors(backbone: str) -> Tensors:
    return random_tensors(get_backbone(backbone), 0)


def blog_loop(images: int) -> Work:
    """The blog's own way, see `bench.blog`."""
    process = BlogLoop(images)
    return Work(process.seconds, process.features)


class _Images(NamedTuple):
    """A batch for `in_streams`."""

    images: Any


def forward(backbone: str, batch_size: int, precision: str) -> Callable[[], Work]:
    """The network alone, from float32 pixels that are resized already, in batches and streams as a run has them."""

    def setup() -> Work:
        from pool3.tuning import default_shape  # which an older tree lacks

        network = get_backbone(backbone)
        placement = choose_devices("auto")
        batches = images(batch_size) // batch_size
        streams = default_shape(placement).streams
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
            for _ in in_streams(runner, repeat(batch, batches), streams):
                pass

        return Work(call, lambda: runner(batch.images), precision)

    return setup


def limit(precision: str) -> Callable[[], Work]:
    """The best matrix product of some shapes, told in images of Inception-v3 a second; on GPUs a large one."""

    def setup() -> Work:
        placement = choose_devices("auto")
        return Work(
            _products(placement, precision) if placement.on_gpu else best_product(precision, LIMIT_IMAGES)
        )

    return setup


def _products(placement: Placement, precision: str) -> Callable[[], float]:
    """Seconds of `LIMIT_IMAGES` images by the rate of large products on all devices at once."""
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

    done = 2.0 * _GPU_SIDE**3 * _GPU_PRODUCTS * len(pairs) / INCEPTION_OPERATIONS

    def call() -> float:
        start = time.perf_counter()
        for value in multiply():
            value.numpy()  # waits for the device
        return (time.perf_counter() - start) * LIMIT_IMAGES / done

    return call
