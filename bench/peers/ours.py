"""pool3 itself, as it runs by default on a CPU, and the loop of 2016.

The one place that knows pool3's own interfaces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.graph2015 import graph_2015, session_2015
from bench.peers.contender import SINGLE_IMAGES, Contender, Features, Measure, Pixels, Setup, UnavailableError
from pool3.backbones import INCEPTION_V3
from pool3.devices import choose_devices, choose_precision
from pool3.extractor import Extractor
from pool3.runtime import Runner, start_tensorflow
from pool3.spec import CPU_BATCH_SIZE, ExtractSpec
from pool3.streams import STREAMS, in_streams

DEVICE = "cpu"
"""The peers run on the CPU, so pool3 does too, whatever else the machine has."""

SMALL, SMALL_QUICK = 2000, 128
PHOTOS, PHOTOS_QUICK = 256, 32

START_UP = ("compile", "precision")
"""Stages left out of the end to end: once a run, however many images it has."""


@dataclass(frozen=True, slots=True)
class _Batch:
    images: Any  # a tensor, as the pipeline hands it on


def network(setup: Setup, precision: str) -> Contender:
    """The network alone, from float32 pixels of its size: batches in streams as a run has them, and single images."""
    start_tensorflow()
    import tensorflow as tf

    placement = choose_devices(DEVICE)
    able, reason = choose_precision(placement)
    if precision not in ("float32", able):
        raise UnavailableError(f"pool3 has no use for {precision} here: {reason}")
    tensors = setup.tensors()

    def runner(batch_size: int) -> Runner:
        return Runner(
            INCEPTION_V3,
            tensors,
            INCEPTION_V3.main_feature,
            placement,
            batch_size=batch_size,
            image_shape=None,
            precision=precision,
        )

    many, one = runner(CPU_BATCH_SIZE), runner(1)

    def stream(batches: list[_Batch]) -> Iterator[Features]:
        with closing(in_streams(many, iter(batches), STREAMS)) as done:
            for _, features in done:
                yield features

    def split(pixels: Pixels, size: int) -> list[_Batch]:
        with tf.device("/CPU:0"):
            return [_Batch(tf.cast(pixels[i : i + size], tf.float32)) for i in range(0, len(pixels), size)]

    batches = split(setup.pixels(setup.images), CPU_BATCH_SIZE)
    singles = split(setup.pixels(SINGLE_IMAGES), 1)

    def forward() -> None:
        for _ in stream(batches):
            pass

    def one_by_one() -> None:
        for single in singles:
            one(single.images)

    def features(pixels: Pixels) -> Features:
        count = -len(pixels) // CPU_BATCH_SIZE * -CPU_BATCH_SIZE
        full = np.resize(pixels, (count, *pixels.shape[1:]))
        return np.concatenate(list(stream(split(full, CPU_BATCH_SIZE))))[: len(pixels)]

    return Contender(
        {
            f"ours/forward/{precision}": Measure(setup.images, forward),
            f"ours/single/{precision}": Measure(SINGLE_IMAGES, one_by_one),
        },
        features,
        {"batch_size": CPU_BATCH_SIZE, "streams": STREAMS},
    )


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
    """The blog's own way: the graph of 2015 in a session, one image at a time at ``DecodeJpeg:0``."""
    start_tensorflow()
    stack = ExitStack()
    session = stack.enter_context(session_2015(graph_2015(setup.tensors())))
    fetch = session.graph.get_tensor_by_name("pool_3:0")
    images = np.random.default_rng(0).integers(0, 256, (SINGLE_IMAGES, 32, 32, 3), dtype=np.uint8)

    def features(pixels: Pixels) -> Features:
        found = [session.run(fetch, {"DecodeJpeg:0": image}) for image in pixels]
        return np.concatenate(found).reshape(len(pixels), -1)

    # The session lives as long as the function that uses it.
    features.stack = stack  # type: ignore[attr-defined]

    def run() -> None:
        features(images)

    return Contender({"blog_loop": Measure(SINGLE_IMAGES, run)}, features)
