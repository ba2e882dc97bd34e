"""What is measured. Every case works on seeded data that it makes itself: speed does not depend on the values."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bench.graph2015 import graph_2015, session_2015
from bench.measure import Case
from pool3.backbones import INCEPTION_V3, Tensors
from pool3.devices import choose_devices
from pool3.extractor import Extractor
from pool3.pipeline import Pipeline, content_sha256
from pool3.runtime import Runner
from pool3.sources import open_source
from pool3.spec import CPU_BATCH_SIZE, SHARD_ROWS, ExtractSpec
from pool3.store import FeatureWriter, Provenance, Rows
from pool3.streams import STREAMS, in_streams
from pool3.weights import random_tensors

BLOG_LOOP = "blog_loop"
PLAIN_WRITE = "sink/plain_write"
FORWARD_BATCHES = (1, 8, 32)
FORWARD_IMAGES = 64
END_TO_END_IMAGES = 128

_Call = Callable[[], float | None]


def cases(scratch: Path, prefixes: Sequence[str]) -> list[Case]:
    """The cases whose names start with one of the prefixes; all where there are none."""
    rows = 8 * SHARD_ROWS
    every = [
        Case(BLOG_LOOP, "images", 16, lambda: _blog_loop(16)),
        *(Case(f"forward/{b}", "images", FORWARD_IMAGES, _forward(b, "float32")) for b in FORWARD_BATCHES),
        Case("forward/bfloat16", "images", FORWARD_IMAGES, _forward(CPU_BATCH_SIZE, "bfloat16")),
        Case("decode/32x32", "images", 512, lambda: _decode(scratch / "small", 512, 32, 32)),
        Case("decode/500x375", "images", 64, lambda: _decode(scratch / "photos", 64, 375, 500)),
        Case("hash/32x32", "images", 512, lambda: _hash(scratch / "small", 512, 32, 32)),
        Case("hash/500x375", "images", 64, lambda: _hash(scratch / "photos", 64, 375, 500)),
        Case("sink", "rows", rows, lambda: _sink(scratch / "sink", 8), limit=PLAIN_WRITE),
        Case("sink/seal", "rows", rows, lambda: _seal(scratch / "seal", 8), limit=PLAIN_WRITE),
        Case(PLAIN_WRITE, "rows", rows, lambda: _plain_write(scratch / "plain", 8)),
        Case("end_to_end", "images", END_TO_END_IMAGES, lambda: _end_to_end(scratch / "end")),
    ]
    return [case for case in every if not prefixes or case.name.startswith(tuple(prefixes))]


@cache
def _tensors() -> Tensors:
    return random_tensors(INCEPTION_V3, 0)


def _blog_loop(images: int) -> _Call:
    """The blog's own way: the graph of 2015 in a session, one image at a time at ``DecodeJpeg:0``."""
    stack = ExitStack()
    session = stack.enter_context(session_2015(graph_2015(_tensors())))
    pixels = np.random.default_rng(0).integers(0, 256, (images, 32, 32, 3), dtype=np.uint8)
    fetch = session.graph.get_tensor_by_name("pool_3:0")

    def call() -> None:
        for image in pixels:
            session.run(fetch, {"DecodeJpeg:0": image})

    # The session lives as long as the call that uses it.
    call.stack = stack  # type: ignore[attr-defined]
    return call


class _Images(NamedTuple):
    """A batch for `in_streams`."""

    images: Any


def _forward(batch_size: int, precision: str) -> Callable[[], _Call]:
    """The network alone, from float32 pixels that are resized already, in batches and streams as a run has them."""

    def setup() -> _Call:
        runner = Runner(
            INCEPTION_V3,
            _tensors(),
            "pool_3",
            choose_devices("auto"),
            batch_size=batch_size,
            image_shape=None,
            precision=precision,
        )
        batch = _Images(tf.random.stateless_uniform((batch_size, 299, 299, 3), (0, 0), 0, 255))

        def call() -> None:
            for _ in in_streams(runner, repeat(batch, FORWARD_IMAGES // batch_size), STREAMS):
                pass

        return call

    return setup


def folder_of_jpegs(folder: Path, count: int, height: int, width: int) -> Path:
    """A folder of JPEG files with the smooth content of photographs, so that they compress like them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        coarse = tf.random.stateless_uniform((1, height // 8 + 2, width // 8 + 2, 3), (number, 0), 0, 255)
        image = tf.cast(tf.image.resize(coarse, (height, width), method="bicubic"), tf.float32)
        noise = tf.random.stateless_normal((1, height, width, 3), (number, 1), 0, 6)
        pixels = tf.saturate_cast(image + noise, tf.uint8)[0]
        (folder / f"{number:05}.jpg").write_bytes(tf.io.encode_jpeg(pixels, quality=90).numpy())
    return folder


def _decode(folder: Path, count: int, height: int, width: int) -> _Call:
    """The pipeline without a network: read, hash, decode, resize to 299² and batch."""
    source = open_source(folder_of_jpegs(folder, count, height, width))

    def call() -> None:
        pipeline = Pipeline(source, INCEPTION_V3.preprocessing, 32, "host")
        covered = sum(batch.count for batch in pipeline.batches([(0, count)]))
        if covered != count:
            raise AssertionError(f"decoded {covered} of {count} images")

    return call


def _hash(folder: Path, count: int, height: int, width: int) -> _Call:
    """What the pipeline adds to every image for ``/content_sha256``: its digest, without the reading."""
    source = open_source(folder_of_jpegs(folder, count, height, width))
    contents = [content for content in source.read(0, count) if isinstance(content, bytes)]

    def call() -> None:
        for content in contents:
            content_sha256(content)

    return call


def _rows(shard: int) -> Rows:
    features = np.random.default_rng(shard).standard_normal((SHARD_ROWS, 2048), np.float32)
    start = shard * SHARD_ROWS
    index = np.arange(start, start + SHARD_ROWS)
    return Rows(
        start=start,
        stop=start + SHARD_ROWS,
        source_index=index,
        ids=[f"class/{i:08}.jpg" for i in index],
        labels=np.zeros(SHARD_ROWS, np.int32),
        content_sha256=np.zeros((SHARD_ROWS, 32), np.uint8),
        features=features,
        failures=(),
    )


def provenance() -> Provenance:
    """Of a file whose features mean nothing: what the store needs to begin one."""
    return Provenance(
        pool3_version="bench", pool3_commit="", backbone="inception_v3", feature="pool_3", feature_shape=(2048,),
        weights="random:0", weights_sha256="", tensor_digest="", preprocessing="", decoder="", precision="float32",
        precision_reason="", precision_cosine=1.0,
        storage="float32", batch_size=32, route="host", threads=0, device="", compiler="", tf32=False, libraries={},
        source="", source_manifest_sha256="", created="",
    )  # fmt: skip


def _settle(folder: Path) -> None:
    """Empty a folder and let the disk come to rest, so that a sample pays for its own writes alone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.sync()


def _writer(folder: Path, shards: int) -> FeatureWriter:
    return FeatureWriter.open(
        folder / "out.h5",
        provenance(),
        inputs=shards * SHARD_ROWS,
        width=2048,
        label_names=("class",),
        rows_per_shard=SHARD_ROWS,
    )


def _sink(folder: Path, shards: int) -> _Call:
    """Committed shards, durable one by one; the seal is left out."""
    blocks = [_rows(shard) for shard in range(shards)]

    def call() -> float:
        _settle(folder)
        with _writer(folder, shards) as writer:
            start = time.perf_counter()
            for block in blocks:
                writer.commit(block)
            return time.perf_counter() - start

    return call


def _seal(folder: Path, shards: int) -> _Call:
    """Shards into one HDF5 file with checksums and digests, durable."""
    blocks = [_rows(shard) for shard in range(shards)]

    def call() -> float:
        _settle(folder)
        with _writer(folder, shards) as writer:
            for block in blocks:
                writer.commit(block)
            os.sync()
            start = time.perf_counter()
            writer.seal()
            return time.perf_counter() - start

    return call


def _plain_write(folder: Path, shards: int) -> _Call:
    """The limit of the sink: the same bytes by plain sequential writes and one fsync."""
    blocks: list[NDArray[np.float32]] = [_rows(shard).features for shard in range(shards)]

    def call() -> float:
        path = folder / "plain"
        _settle(folder)
        start = time.perf_counter()
        with path.open("wb", buffering=0) as file:
            for block in blocks:
                file.write(block.data.cast("B"))
            os.fsync(file.fileno())
        return time.perf_counter() - start

    return call


def _end_to_end(folder: Path) -> _Call:
    """A folder of JPEG files to a sealed feature file; start-up and compilation left out."""
    images = folder_of_jpegs(folder / "images", END_TO_END_IMAGES, 32, 32)
    extractor = Extractor(ExtractSpec(backbone="inception_v3", weights="random:0"))

    def call() -> float:
        result = extractor.extract(images, folder / "out.h5", overwrite=True)
        if result.rows != END_TO_END_IMAGES:
            raise AssertionError(f"{result.rows} rows from {END_TO_END_IMAGES} images")
        # Commits pass beside the network; the last one and the seal do not.
        return result.seconds - result.stages["compile"]

    return call
