"""The `tf.data` pipeline: records → decoded pixels → batches of one static shape with a mask.

The unit is a *span*: up to `batch_size` consecutive images, the work of one step. Python touches a span once, to read
and to hash it; decoding and resizing run in TensorFlow's threads. An image that cannot be read or decoded
fails alone: its span is decoded again one by one, so that its neighbours keep their rows.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.backbones import Preprocessing
from pool3.decoding import onto_canvas, onto_host, span_signature, traced
from pool3.errors import ExtractionError, SourceError
from pool3.sources import Content, Source, Unreadable
from pool3.sources import (
    content_sha256 as content_sha256,  # from here too: cases of the gate run on older trees
)
from pool3.store import Failure

_SPANS_AHEAD = 2
"""Decoded spans that wait for the network. Two hide a slow span; more cost memory and gain nothing."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's input, and what is known of its images.

    Attributes:
        start: source index of the first image.
        images: tensor of the network's static shape, or a `pool3_kernels.resize.Canvas`; rows that are not `valid`
            hold zeros.
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
class _Reader:
    """Reads span by span, in tf.data's own thread; keeps of each what the failures and the store need.

    Attributes:
        spans: span number → what was read, until its batch is made.
        error: what ended the reading; TensorFlow would turn it into an op error without its type.
        seconds: time spent reading and hashing.
    """

    source: Source
    batch_size: int
    route: str
    spans: dict[int, _Span] = field(default_factory=dict)
    error: BaseException | None = None
    seconds: float = 0.0

    def read(self, ranges: Sequence[tuple[int, int]]) -> Iterator[Any]:
        """Yield each span of the ranges as arrays of a static shape."""
        try:
            number = 0
            for start, stop in ranges:
                contents = self.source.read(start, stop)
                for first in range(start, stop, self.batch_size):
                    clock = time.perf_counter()
                    span = self._read_span(contents, first, min(self.batch_size, stop - first))
                    self.spans[number] = span
                    packed = self.pack(span)
                    self.seconds += time.perf_counter() - clock
                    yield packed
                    number += 1
        except BaseException as error:
            self.error = error
            raise

    def _read_span(self, contents: Iterator[Content], first: int, count: int) -> _Span:
        digests = np.zeros((self.batch_size, 32), np.uint8)
        kept: list[Content] = []
        for index in range(first, first + count):
            content = next(contents, None)
            if content is None:
                raise SourceError(f"{self.source.description}: it ended at image {index}, before its length")
            self._check(content, index)
            if not isinstance(content, Unreadable):
                digests[index - first] = np.frombuffer(content_sha256(content), np.uint8)
            kept.append(content)
        return _Span(first, kept, digests)

    def _check(self, content: Content, index: int) -> None:
        """Hold the source to its promise: what it did not promise would become a row of wrong pixels."""
        if isinstance(content, Unreadable):
            return
        given = self.source.description
        if isinstance(content, np.ndarray):
            shape = content.shape
            right = content.dtype == np.uint8 and len(shape) == 3 and shape[2] == 3 and min(shape) > 0
            if not right or (self.route == "device" and shape[:2] != self.source.image_shape):
                wanted = "" if self.source.image_shape is None else f" of {self.source.image_shape}"
                raise SourceError(
                    f"{given}: image {index} must be (H, W, 3) uint8{wanted}; received {shape} {content.dtype}"
                )
        elif self.route == "device":
            raise SourceError(
                f"{given}: image {index} must be an array, since the source says it holds arrays"
            )

    def pack(self, span: _Span) -> Any:
        """A span as arrays of a static shape: pixels for the device route, else bytes and the shapes of raw pixels.

        A shape is (0, 0, 0) for an encoded image, and (-1, -1, -1) where there is none.
        """
        if self.route == "device":
            height, width = self.source.image_shape or (0, 0)
            batch = np.zeros((self.batch_size, height, width, 3), np.uint8)
            for offset, content in enumerate(span.contents):
                if isinstance(content, np.ndarray):
                    batch[offset] = content
            return batch
        contents = np.full(self.batch_size, b"", dtype=object)
        shapes = np.full((self.batch_size, 3), -1, np.int32)
        for offset, content in enumerate(span.contents):
            if isinstance(content, bytes):
                contents[offset], shapes[offset] = content, 0
            elif isinstance(content, np.ndarray):
                contents[offset], shapes[offset] = content.tobytes(), content.shape
        return contents, shapes


@dataclass(slots=True)
class Pipeline:
    """Turns index ranges of a source into batches.

    Attributes:
        source: where images come from.
        preprocessing: resize mode and size of the network.
        batch_size: rows a batch.
        route: ``device`` (the source's images have one size: uint8 batches), ``host`` (float32, resized here), or
            ``canvas`` (uint8 with their sizes, and float32 where an image is larger than every canvas).
        workers: spans decoded at a time.
        fast_decode: decode large JPEGs at a fraction of their size.
        read_seconds: time spent reading and hashing by the batches so far; it passes beside the other stages.
    """

    source: Source
    preprocessing: Preprocessing
    batch_size: int
    route: str
    workers: int = 2
    fast_decode: bool = False
    read_seconds: float = 0.0

    def batches(self, ranges: Sequence[tuple[int, int]]) -> Iterator[Batch]:
        """Yield the batches of the ranges [start, stop), in order; a batch never crosses a range's boundary.

        Raises:
            SourceError: the source broke its promise: a content an index, of the right type and shape.
            ExtractionError: TensorFlow failed for another reason than an image that cannot be decoded.
        """
        import tensorflow as tf

        reader = _Reader(self.source, self.batch_size, self.route)
        iterator = iter(self._dataset(reader, ranges))
        number = 0
        for start, stop in ranges:
            for first in range(start, stop, self.batch_size):
                failed: dict[int, Failure] = {}
                try:
                    images = self._images(next(iterator))
                except tf.errors.OpError as error:
                    if reader.error is not None:
                        raise reader.error from None
                    if self.route == "device" or not isinstance(error, _undecodable()):
                        raise ExtractionError(
                            f"TensorFlow failed on images {first} and after: {clean_message(error.message)}; "
                            "what was committed is kept, run again"
                        ) from error
                    images, failed = self._one_by_one(reader, reader.spans[number])
                span = reader.spans.pop(number)
                number += 1
                self.read_seconds, reader.seconds = self.read_seconds + reader.seconds, 0.0
                yield self._batch(span, images, failed)

    def _batch(self, span: _Span, images: Any, failed: dict[int, Failure]) -> Batch:
        for offset, content in enumerate(span.contents):
            if isinstance(content, Unreadable):
                index = span.start + offset
                failed[offset] = Failure(
                    index, self.source.ids[index], "open", content.error, content.message
                )
        count = len(span.contents)
        valid = np.arange(self.batch_size) < count
        valid[list(failed)] = False
        failures = tuple(failed[offset] for offset in sorted(failed))
        return Batch(span.start, images, valid, count, span.content_sha256, failures)

    def _images(self, element: Any) -> Any:
        """What goes to the network, of an element of the dataset."""
        from pool3_kernels.resize import Canvas

        if self.route != "canvas":
            return element
        pixels, sizes, resized = element
        return resized if resized.shape[0] else Canvas(pixels, sizes)

    def _dataset(self, reader: _Reader, ranges: Sequence[tuple[int, int]]) -> Any:
        import tensorflow as tf

        if self.route == "device":
            height, width = self.source.image_shape or (0, 0)
            signature: Any = tf.TensorSpec((self.batch_size, height, width, 3), tf.uint8)
        else:
            signature = span_signature(self.batch_size)
        dataset = tf.data.Dataset.from_generator(lambda: reader.read(ranges), output_signature=signature)
        if self.route != "device":
            onto = onto_canvas if self.route == "canvas" else onto_host
            decode_span = traced(onto, self.preprocessing, self.fast_decode, self.batch_size)
            dataset = dataset.map(decode_span, num_parallel_calls=self.workers, deterministic=True)
        options = tf.data.Options()
        options.deterministic = True
        # What is decoded at a time and ahead is fixed above. Autotuning would add buffers of its own, up to half of
        # the free memory.
        options.autotune.enabled = False
        # Nor is there anything in these few steps to rewrite, which would be looked for at the start of each run.
        options.experimental_optimization.apply_default_optimizations = False
        return dataset.prefetch(_SPANS_AHEAD).with_options(options)

    def _one_by_one(self, reader: _Reader, span: _Span) -> tuple[Any, dict[int, Failure]]:
        """Decode each image of a span by itself, since one of them failed; return the images and the failures."""
        import tensorflow as tf

        size = self.preprocessing.size
        images = np.zeros((self.batch_size, size, size, 3), np.float32)
        failed: dict[int, Failure] = {}
        decode = onto_host(self.preprocessing, self.fast_decode)
        contents, shapes = reader.pack(span)
        for offset in range(len(span.contents)):
            try:
                # On the CPU, where tf.data decodes too: the neighbours of a broken image keep their bits.
                with tf.device("/CPU:0"):
                    here = slice(offset, offset + 1)
                    images[offset] = decode(tf.constant(contents[here]), tf.constant(shapes[here]))[0].numpy()
            except _undecodable() as error:
                index = span.start + offset
                message = clean_message(error.message)
                failed[offset] = Failure(
                    index, self.source.ids[index], "decode", type(error).__name__, message
                )
        return images, failed


def _undecodable() -> Any:
    """What TensorFlow's decoders raise on a bad image; anything else, such as no memory, is no fault of the image."""
    import tensorflow as tf

    return (tf.errors.InvalidArgumentError, tf.errors.DataLossError, tf.errors.UnimplementedError)


def clean_message(message: str) -> str:
    """The reason alone out of TensorFlow's error message, without nodes, devices and where the graph was traced.

    The reason stands last, before the node in double brackets; of several root errors, the first is taken.
    """
    message = re.sub(r"\{\{[^}]*\}\}", "", message)
    first = re.search(r"^\s*\(0\) [A-Z_]+: *(.*)$", message, re.MULTILINE)
    lines = [first[1]] if first else [line.strip() for line in message.splitlines()]
    reasons = [re.sub(r"\s*\[Op:.*", "", line).strip() for line in lines if not line.startswith("[[")]
    return next((reason for reason in reversed(reasons) if reason), "unknown error")
