"""pool3 itself, as it runs by default on a CPU, and the loop of 2016.

The one place that knows pool3's own interfaces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import blog
from bench.peers.contender import SINGLE_IMAGES, Contender, Features, Measure, Pixels, Setup, UnavailableError
from pool3.backbones import INCEPTION_V3
from pool3.devices import choose_devices, choose_precision
from pool3.extractor import Extractor
from pool3.runtime import Runner, start_tensorflow
from pool3.spec import ExtractSpec
from pool3.streams import in_streams
from pool3.tuning import default_shape

DEVICE = "cpu"
"""The peers run on the CPU, so pool3 does too, whatever else the machine has."""

SMALL, SMALL_QUICK = 2000, 128
PHOTOS, PHOTOS_QUICK = 512, 32

START_UP = ("compile", "precision")
"""Stages left out of the end to end: once a run, however many images it has."""


@dataclass(frozen=True, slots=True)
class _Batch:
    images: Any  # a tensor, as the pipeline hands it on


def network(setup: Setup, precision: str) -> Contender:
    """The network alone, from float32 pixels of its size, batches in streams as a run has them."""
    start_tensorflow()
    shape = default_shape(choose_devices(DEVICE))
    runner = _runner(setup, precision, shape.batch_size)

    def stream(batches: list[_Batch]) -> Iterator[Features]:
        with closing(in_streams(runner, iter(batches), shape.streams)) as done:
            for _, features in done:
                yield features

    batches = _split(setup.pixels(setup.images), shape.batch_size)

    def forward() -> None:
        for _ in stream(batches):
            pass

    def features(pixels: Pixels) -> Features:
        count = -len(pixels) // shape.batch_size * -shape.batch_size
        full = np.resize(pixels, (count, *pixels.shape[1:]))
        return np.concatenate(list(stream(_split(full, shape.batch_size))))[: len(pixels)]

    facts = {"batch_size": shape.batch_size, "streams": shape.streams}
    return Contender({f"ours/forward/{precision}": Measure(setup.images, forward)}, features, facts)


def single(setup: Setup, precision: str, threads: int) -> Contender:
    """The network alone, one image at a time.

    Args:
        setup: what every contender gets.
        precision: dtype of the convolutions.
        threads: that share an operation; 0: all, as a Python program has them by default.
    """
    start_tensorflow(threads)
    runner = _runner(setup, precision, 1)
    images = _split(setup.pixels(SINGLE_IMAGES), 1)

    def one_by_one() -> None:
        for image in images:
            runner(image.images)

    def features(pixels: Pixels) -> Features:
        return np.concatenate([runner(image.images) for image in _split(pixels, 1)])

    name = f"ours/single/{precision}{f'/{threads} thread' if threads else ''}"
    return Contender({name: Measure(SINGLE_IMAGES, one_by_one)}, features, {"threads": threads})


def _runner(setup: Setup, precision: str, batch_size: int) -> Runner:
    placement = choose_devices(DEVICE)
    able, reason = choose_precision(placement)
    if precision not in ("float32", able):
        raise UnavailableError(f"pool3 has no use for {precision} here: {reason}")
    return Runner(
        INCEPTION_V3,
        setup.tensors(),
        INCEPTION_V3.main_feature,
        placement,
        batch_size=batch_size,
        image_shape=None,
        precision=precision,
    )


def _split(pixels: Pixels, size: int) -> list[_Batch]:
    import tensorflow as tf

    with tf.device("/CPU:0"):
        return [_Batch(tf.cast(pixels[i : i + size], tf.float32)) for i in range(0, len(pixels), size)]


def end_to_end(setup: Setup, precision: str) -> Contender:
    """A folder of JPEG files to a sealed feature file."""
    start_tensorflow()
    from bench.cases import folder_of_jpegs

    small, photos = (SMALL_QUICK, PHOTOS_QUICK) if setup.quick else (SMALL, PHOTOS)
    folders = {
        "32x32": (folder_of_jpegs(setup.folder / "32x32", small, 32, 32), small),
        "500x375": (folder_of_jpegs(setup.folder / "500x375", photos, 375, 500), photos),
    }
    extractor = Extractor(ExtractSpec(weights="random:0", devices=DEVICE, precision=precision))
    facts: dict[str, Any] = {"images": {name: count for name, (_, count) in folders.items()}}

    def extraction(images: Path, count: int) -> Callable[[], float]:
        def call() -> float:
            result = extractor.extract(images, images.with_suffix(".h5"), overwrite=True)
            if result.rows != count:
                raise AssertionError(f"{result.rows} rows from {count} images")
            facts.update(precision=result.precision, batch_size=result.batch_size)
            return result.seconds - sum(result.stages.get(stage, 0.0) for stage in START_UP)

        return call

    measures = {
        f"ours/end_to_end/{name}": Measure(count, extraction(images, count))
        for name, (images, count) in folders.items()
    }
    return Contender(measures, None, facts)


def blog_loop(setup: Setup) -> Contender:
    """The blog's own way, see `bench.blog`."""
    embed = blog.loop(setup.tensors())
    images = blog.images(SINGLE_IMAGES)

    def run() -> None:
        embed(images)

    return Contender({"blog_loop": Measure(SINGLE_IMAGES, run)}, embed)
