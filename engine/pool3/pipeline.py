"""The `tf.data` pipeline: records → decoded pixels → batches of one static shape with a mask.

The unit is a *span*: up to `batch_size` consecutive images, the work of one step. Python touches a span once, to read
and to hash it; decoding and resizing run in TensorFlow's threads. An image that cannot be read or decoded
fails alone: its span is decoded again one by one, so that its neighbours keep their rows.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.backbones import Preprocessing
from pool3.errors import SourceError
from pool3.sources import Content, Source, Unreadable
from pool3.store import Failure

DECODER = "tf.io.decode_image(channels=3, expand_animations=False), JPEG by its default IDCT"
"""What turns files into pixels, as the feature file records it. On a JPEG it gives the pixels of
``DecodeJpeg(channels=3)``, the first op of the 2015 graph; on an animation, the first frame."""

DECODER_PIXELS = "none: the source holds pixels"

_SPANS_AHEAD = 2
"""Decoded spans that wait for the network. Two hide a slow span; more cost memory and gain nothing."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's input, and what is known of its images.

    Attributes:
        start: source index of the first image.
        images: tensor of the network's static shape; rows that are not `valid` hold zeros.
        valid: (batch_size,) bool; row i is image ``start + i``, and False for failures and past the end.
        count: images that the span covers: rows from `count` on are padding.
        content_sha256: (batch_size, 32) uint8, digests of the files, or of the pixels where the source holds pixels.
        failures: those of this span, ascending.

    """

    start: int
    images: Any
    valid: NDArray[np.bool_]
    count: int
    content_sha256: NDArray[np.uint8]
    failures: tuple[Failure, ...]


@dataclass(slots=True)
class _Span:
    """What Python keeps of a span while TensorFlow decodes it."""

    start: int
    contents: list[Content]
    content_sha256: NDArray[np.uint8]


@dataclass(slots=True)
class Pipeline:
    """Turns index ranges of a source into batches.

    Attributes:
        source: where images come from.
        preprocessing: resize mode and size of the network.
        batch_size: rows a batch.
        route: ``device`` (the source's images have one size: uint8 batches) or ``host`` (float32, resized here).
        workers: spans decoded at a time.
        read_seconds: time spent reading and hashing so far, beside the other stages.

    """

    source: Source
    preprocessing: Preprocessing
    batch_size: int
    route: str
    workers: int = 2
    read_seconds: float = 0.0
    _spans: dict[int, _Span] = field(default_factory=dict)
    _error: BaseException | None = None

    def batches(self, ranges: Sequence[tuple[int, int]]) -> Iterator[Batch]:
        """Yield the batches of the ranges [start, stop), in order; a batch never crosses a range's boundary.

        Raises:
            SourceError: the source broke its promise of one content an index.

        """
        import tensorflow as tf

        starts = [
            (s, min(s + self.batch_size, stop))
            for start, stop in ranges
            for s in range(start, stop, self.batch_size)
        ]
        iterator = iter(self._dataset(ranges))
        for number, (start, stop) in enumerate(starts):
            failed: dict[int, Failure] = {}
            try:
                images = next(iterator)
            except StopIteration:
                raise SourceError(
                    f"{self.source.description}: the source ended at image {start}, before its length."
                ) from self._error
            except tf.errors.OpError:
                if self._error is not None:
                    raise self._error from None
                images, failed = self._one_by_one(self._spans[number])
            span = self._spans.pop(number)
            for offset, content in enumerate(span.contents):
                if isinstance(content, Unreadable):
                    failed[offset] = Failure(
                        start + offset,
                        self.source.ids[start + offset],
                        "open",
                        content.error,
                        content.message,
                    )
            valid = np.arange(self.batch_size) < stop - start
            valid[list(failed)] = False
            failures = tuple(failed[offset] for offset in sorted(failed))
            yield Batch(start, images, valid, stop - start, span.content_sha256, failures)

    def _dataset(self, ranges: Sequence[tuple[int, int]]) -> Any:
        import tensorflow as tf

        if self.route == "device":
            height, width = self.source.image_shape or (0, 0)
            signature: Any = tf.TensorSpec((self.batch_size, height, width, 3), tf.uint8)
        else:
            signature = (
                tf.TensorSpec((self.batch_size,), tf.string),
                tf.TensorSpec((self.batch_size, 3), tf.int32),
            )
        dataset = tf.data.Dataset.from_generator(lambda: self._read(ranges), output_signature=signature)
        if self.route == "host":
            decode = self._decoder()
            size = self.preprocessing.size

            def decode_span(contents: Any, shapes: Any) -> Any:
                return tf.map_fn(
                    lambda one: decode(*one),
                    (contents, shapes),
                    fn_output_signature=tf.TensorSpec((size, size, 3), tf.float32),
                )

            dataset = dataset.map(decode_span, num_parallel_calls=self.workers, deterministic=True)
        return dataset.prefetch(_SPANS_AHEAD)

    def _read(self, ranges: Sequence[tuple[int, int]]) -> Iterator[Any]:
        """Read span by span, in tf.data's own thread; keep of each what the failures and the store need."""
        try:
            number = 0
            for start, stop in ranges:
                contents = self.source.read(start, stop)
                for first in range(start, stop, self.batch_size):
                    clock = time.perf_counter()
                    span = self._read_span(contents, first, min(self.batch_size, stop - first))
                    self._spans[number] = span
                    packed = self._pack(span)
                    self.read_seconds += time.perf_counter() - clock
                    yield packed
                    number += 1
        except BaseException as error:
            # TensorFlow would turn it into an op error without its type: `batches` raises the original.
            self._error = error
            raise

    def _read_span(self, contents: Iterator[Content], first: int, count: int) -> _Span:
        digests = np.zeros((self.batch_size, 32), np.uint8)
        kept: list[Content] = []
        for offset in range(count):
            content = next(contents, None)
            if content is None:
                raise SourceError(
                    f"{self.source.description}: the source ended at image {first + offset}, before its length."
                )
            if not isinstance(content, Unreadable):
                data = content if isinstance(content, bytes) else np.ascontiguousarray(content).data
                digests[offset] = np.frombuffer(hashlib.sha256(data).digest(), np.uint8)
            kept.append(content)
        return _Span(first, kept, digests)

    def _pack(self, span: _Span) -> Any:
        """A span as arrays of a static shape: pixels for the device route, else bytes and the shapes of raw pixels."""
        if self.route == "device":
            height, width = self.source.image_shape or (0, 0)
            batch = np.zeros((self.batch_size, height, width, 3), np.uint8)
            for offset, content in enumerate(span.contents):
                if isinstance(content, np.ndarray):
                    batch[offset] = content
            return batch
        contents = np.full(self.batch_size, b"", dtype=object)
        shapes = np.zeros((self.batch_size, 3), np.int32)
        for offset, content in enumerate(span.contents):
            if isinstance(content, bytes):
                # An empty file must fail as undecodable, while an empty string below means "no image".
                contents[offset] = content or b"\0"
            elif isinstance(content, np.ndarray):
                contents[offset], shapes[offset] = content.tobytes(), content.shape
        return contents, shapes

    def _decoder(self) -> Any:
        """A graph function: one image's bytes (or raw pixels and their shape) → (S, S, 3) float32."""
        import tensorflow as tf

        from pool3_kernels.resize import resize_bilinear

        size = self.preprocessing.size
        half_pixel = self.preprocessing.resize == "bilinear"

        def pixels(content: Any, shape: Any) -> Any:
            return tf.cond(
                shape[0] > 0,
                lambda: tf.reshape(tf.io.decode_raw(content, tf.uint8), shape),
                lambda: tf.io.decode_image(content, channels=3, expand_animations=False),
            )

        def resized(content: Any, shape: Any) -> Any:
            image = resize_bilinear(pixels(content, shape)[tf.newaxis], size, half_pixel=half_pixel)
            return tf.ensure_shape(image[0], (size, size, 3))

        def decode(content: Any, shape: Any) -> Any:
            absent = tf.equal(tf.strings.length(content), 0)
            return tf.cond(absent, lambda: tf.zeros((size, size, 3)), lambda: resized(content, shape))

        signature = [tf.TensorSpec((), tf.string), tf.TensorSpec((3,), tf.int32)]
        return tf.function(decode, input_signature=signature, autograph=False)

    def _one_by_one(self, span: _Span) -> tuple[Any, dict[int, Failure]]:
        """Decode each image of a span by itself, since one of them failed; return the images and the failures."""
        import tensorflow as tf

        size = self.preprocessing.size
        images = np.zeros((self.batch_size, size, size, 3), np.float32)
        failed: dict[int, Failure] = {}
        decode = self._decoder()
        contents, shapes = self._pack(span)
        for offset in range(len(span.contents)):
            try:
                images[offset] = decode(contents[offset], shapes[offset]).numpy()
            except tf.errors.OpError as error:
                index = span.start + offset
                message = clean_message(error.message)
                failed[offset] = Failure(
                    index, self.source.ids[index], "decode", type(error).__name__, message
                )
        return images, failed


def clean_message(message: str) -> str:
    """The reason alone out of TensorFlow's error message, without names of nodes and devices."""
    message = re.sub(r"\{\{[^}]*\}\}", "", message)
    lines = [line.strip(" \t") for line in message.splitlines()]
    reasons = [
        line for line in lines if line and not line.startswith(("[[", "Detected at", "Graph execution error"))
    ]
    return re.sub(r"\s*\[Op:.*", "", reasons[0]).strip() if reasons else "unknown error"
