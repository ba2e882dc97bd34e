"""From files to pixels: decoding, hashing and preprocessing, without a network."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bench.cases.images import folder_of_images
from bench.measure import Work
from pool3.backbones import INCEPTION_V3
from pool3.pipeline import Pipeline, content_sha256
from pool3.sources import open_source
from pool3_kernels.resize import resize_bilinear


def _contents(folder: Path, count: int, height: int, width: int, suffix: str) -> list[bytes]:
    source = open_source(folder_of_images(folder, count, height, width, suffix))
    return [content for content in source.read(0, count) if isinstance(content, bytes)]


def decode(folder: Path, count: int, height: int, width: int, suffix: str = ".jpg") -> Work:
    """The pipeline without a network: read, hash, decode, resize to 299² and batch."""
    source = open_source(folder_of_images(folder, count, height, width, suffix))

    def pipeline() -> Pipeline:
        return Pipeline(source, INCEPTION_V3.preprocessing, 32, "host")

    def call() -> None:
        covered = sum(batch.count for batch in pipeline().batches([(0, count)]))
        if covered != count:
            raise AssertionError(f"decoded {covered} of {count} images")

    def output() -> NDArray[np.float32]:
        pixels: NDArray[np.float32] = next(pipeline().batches([(0, count)])).images.numpy()
        return pixels

    return Work(call, output)


def plain_decode(folder: Path, count: int, height: int, width: int, suffix: str = ".jpg") -> Work:
    """The limit of decoding: TensorFlow's decoder on one image after the other, with nothing around it."""
    contents = _contents(folder, count, height, width, suffix)
    decoder = tf.io.decode_png if suffix == ".png" else tf.io.decode_jpeg

    def call() -> None:
        for content in contents:
            decoder(content, channels=3)

    return Work(call)


def plain_hash(folder: Path, count: int, height: int, width: int) -> Work:
    """The limit of hashing: OpenSSL on all bytes at once, without a call for each image."""
    everything = b"".join(_contents(folder, count, height, width, ".jpg"))

    def call() -> None:
        hashlib.sha256(everything).digest()

    return Work(call)


def hashing(folder: Path, count: int, height: int, width: int) -> Work:
    """What the pipeline adds to every image for ``/content_sha256``: its digest, without the reading."""
    contents = _contents(folder, count, height, width, ".jpg")

    def call() -> None:
        for content in contents:
            content_sha256(content)

    def output() -> NDArray[np.uint8]:
        return np.frombuffer(b"".join(bytes(content_sha256(content)) for content in contents), np.uint8)

    return Work(call, output)


def preprocess(images: int, batch_size: int) -> Work:
    """Resize 32² uint8 to 299² and normalise, in a graph, as the device route does before the network."""
    size = INCEPTION_V3.preprocessing.size
    batch = _small_images(batch_size)
    graph = tf.function(
        lambda x: INCEPTION_V3.normalised(resize_bilinear(tf.cast(x, tf.float32), size, half_pixel=False)),
        autograph=False,
    )

    def call() -> None:
        for _ in range(images // batch_size):
            graph(batch).numpy()

    return Work(call, lambda: graph(batch).numpy())


def plain_resize(images: int, batch_size: int) -> Work:
    """The limit of preprocessing: TensorFlow's own kernel of the legacy resize, and nothing around it."""
    batch = _small_images(batch_size)
    size = [INCEPTION_V3.preprocessing.size] * 2

    def call() -> None:
        for _ in range(images // batch_size):
            tf.raw_ops.ResizeBilinear(images=batch, size=size).numpy()

    return Work(call)


def _small_images(count: int) -> Any:
    return tf.constant(np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))
