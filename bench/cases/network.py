"""The network alone, the blog's loop around it, and the machine's limit."""

from __future__ import annotations

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
from bench.peers.limit import best_product
from pool3.backbones import INCEPTION_V3, Tensors, get_backbone
from pool3.devices import choose_devices
from pool3.runtime import Runner
from pool3.streams import STREAMS, in_streams
from pool3.weights import random_tensors

IMAGES = 64
"""Of a sample of the forward pass: a multiple of every batch size."""


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
        runner = Runner(
            network,
            _tensors(backbone),
            network.main_feature,
            choose_devices("auto"),
            batch_size=batch_size,
            image_shape=None,
            precision=precision,
        )
        side = network.preprocessing.size
        batch = _Images(tf.random.stateless_uniform((batch_size, side, side, 3), (0, 0), 0, 255))

        def call() -> None:
            for _ in in_streams(runner, repeat(batch, IMAGES // batch_size), STREAMS):
                pass

        return Work(call, lambda: runner(batch.images), precision)

    return setup


def limit(precision: str) -> Callable[[], Work]:
    """The best matrix product of some shapes, told in images of Inception-v3 a second."""

    def setup() -> Work:
        return Work(best_product(precision, IMAGES))

    return setup
