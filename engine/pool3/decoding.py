"""From encoded images to pixels, inside the `tf.data` graph: each span one call, each image one decoder op."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.backbones import CLEAN, Preprocessing
from pool3.errors import ExtractionError, MissingLibraryError

DECODER = "tf.io.decode_image(channels=3, expand_animations=False), JPEG by its default IDCT"
"""What turns files into pixels, as the feature file records it. On a JPEG it gives the pixels of
``DecodeJpeg(channels=3)``, the first op of the 2015 graph; on an animation, the first frame."""

DECODER_FAST = (
    f"{DECODER}, large JPEGs scaled by DCT to the smallest of 1/2, 1/4 and 1/8 not below the network's size"
)
"""The same with ``--fast-decode``: other pixels, and so other features, for less work."""

DECODER_PIXELS = "none: the source holds pixels"

CANVASES = (32, 64, 128, 256, 512)
"""Sides of the canvases on which images of several sizes go to a device together. A larger one would take more bytes
than the float32 image that the network takes, by a factor of three at 1024."""

_SCALES = (8, 4, 2)
"""Divisors of the sides that libjpeg can scale by while it decodes, of which the largest that fits is taken."""

_RESIZED_TOGETHER = 8
"""Images that are decoded at their full size before Pillow resizes them; a whole span could be gigabytes."""

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_SIZE = 16  # where a PNG says it

Span = Callable[[Any, Any], Any]
"""A span's contents (B,) string and shapes (B, 3) int32, see `pool3.pipeline` → what goes to the network."""


def decoded(content: bytes | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What the network is given of an image, before it is resized: (H, W, 3), pixels as they are.

    Raises:
        ExtractionError: TensorFlow cannot decode it.
    """
    import tensorflow as tf

    if isinstance(content, np.ndarray):
        return content
    try:
        return np.asarray(_pixels(tf.constant(content), tf.zeros(3, tf.int32), 0, False).numpy())
    except tf.errors.InvalidArgumentError as error:
        raise ExtractionError(f"an image cannot be decoded ({error.message}); mend it") from error


def onto_host(preprocessing: Preprocessing, fast: bool) -> Span:
    """A graph's function that resizes each image by itself → (B, S, S, 3) float32."""
    import tensorflow as tf

    if preprocessing.resize == CLEAN:
        return _onto_host_by_pillow(preprocessing.size, fast)
    decode = _decoder(preprocessing, fast)
    spec = tf.TensorSpec((preprocessing.size, preprocessing.size, 3), tf.float32)
    return lambda contents, shapes: _each(decode, contents, shapes, spec)


def onto_canvas(preprocessing: Preprocessing, fast: bool) -> Span:
    """A graph's function that puts images, unresized, on the smallest canvas that holds all of the span.

    Returns:
        pixels (B, side, side, 3) uint8, sizes (B, 2) int32, and (0, S, S, 3) float32; or where an image is larger than
        every canvas, or its size is not known before it is decoded: (B, 0, 0, 3), (B, 2) and what `onto_host` gives.
    """
    import tensorflow as tf

    size = preprocessing.size
    on_host = onto_host(preprocessing, fast)

    def padded(side: int, content: Any, shape: Any) -> tuple[Any, Any]:
        def there() -> tuple[Any, Any]:
            image = _pixels(content, shape, size, fast)
            dims = tf.shape(image)[:2]
            return tf.pad(image, [[0, side - dims[0]], [0, side - dims[1]], [0, 0]]), dims

        def missing() -> tuple[Any, Any]:
            return tf.zeros((side, side, 3), tf.uint8), tf.ones(2, tf.int32)

        image, dims = tf.cond(shape[0] < 0, missing, there)
        return tf.ensure_shape(image, (side, side, 3)), tf.ensure_shape(dims, (2,))

    def together(side: int, contents: Any, shapes: Any) -> tuple[Any, Any, Any]:
        specs = (tf.TensorSpec((side, side, 3), tf.uint8), tf.TensorSpec((2,), tf.int32))
        pixels, sizes = _each(partial(padded, side), contents, shapes, specs)
        return pixels, sizes, tf.zeros((0, size, size, 3))

    def one_by_one(contents: Any, shapes: Any) -> tuple[Any, Any, Any]:
        count = tf.shape(shapes)[0]
        nothing = tf.zeros((count, 0, 0, 3), tf.uint8), tf.zeros((count, 2), tf.int32)
        return *nothing, on_host(contents, shapes)

    def decode_span(contents: Any, shapes: Any) -> tuple[Any, Any, Any]:
        bound = partial(_longer_side, size=size, fast=fast)
        most = tf.reduce_max(_each(bound, contents, shapes, tf.TensorSpec((), tf.int32)))
        fitting = tf.cast(tf.stack([most <= side for side in CANVASES] + [True]), tf.int32)
        branches = [partial(together, side, contents, shapes) for side in CANVASES]
        branches.append(partial(one_by_one, contents, shapes))
        pixels, sizes, resized = tf.switch_case(tf.argmax(fitting, output_type=tf.int32), branches)
        # Branches of several shapes lose all of them.
        batch = shapes.shape[0]
        pixels = tf.ensure_shape(pixels, (batch, None, None, 3))
        sizes = tf.ensure_shape(sizes, (batch, 2))
        return pixels, sizes, tf.ensure_shape(resized, (None, size, size, 3))

    return decode_span


def span_signature(batch_size: int) -> tuple[Any, Any]:
    """What a `Span` takes of a static size."""
    import tensorflow as tf

    return tf.TensorSpec((batch_size,), tf.string), tf.TensorSpec((batch_size, 3), tf.int32)


@cache
def traced(
    onto: Callable[[Preprocessing, bool], Span], preprocessing: Preprocessing, fast: bool, batch_size: int
) -> Span:
    """What `onto` gives, for spans of one size; traced once a process, as that takes a while."""
    import tensorflow as tf

    function: Span = tf.function(
        onto(preprocessing, fast), input_signature=span_signature(batch_size), autograph=False
    )
    return function


@cache
def _decoder(preprocessing: Preprocessing, fast: bool) -> Any:
    """A graph function: one image's bytes (or raw pixels) and its shape → (S, S, 3) float32."""
    import tensorflow as tf

    from pool3_kernels.resize import resize_bilinear

    size = preprocessing.size
    half_pixel = preprocessing.resize == "bilinear"

    def resized(content: Any, shape: Any) -> Any:
        pixels = _pixels(content, shape, size, fast)
        image = resize_bilinear(pixels[tf.newaxis], size, half_pixel=half_pixel)
        return tf.ensure_shape(image[0], (size, size, 3))

    def decode(content: Any, shape: Any) -> Any:
        return tf.cond(shape[0] < 0, lambda: tf.zeros((size, size, 3)), lambda: resized(content, shape))

    return tf.function(decode, input_signature=_one_image(), autograph=False)


def _onto_host_by_pillow(size: int, fast: bool) -> Span:
    """What `onto_host` gives, by Pillow: Python calls it for several images at a time, with pixels of any size."""
    import tensorflow as tf

    from pool3_kernels.resize import resize_each

    def flat(content: Any, shape: Any) -> Any:
        image = tf.cond(
            shape[0] < 0, lambda: tf.zeros((0, 0, 3), tf.uint8), lambda: _pixels(content, shape, size, fast)
        )
        return tf.reshape(image, (-1,)), tf.ensure_shape(tf.shape(image), (3,))

    flat_pixels = tf.function(flat, input_signature=_one_image(), autograph=False)

    def decode_some(contents: Any, shapes: Any) -> Any:
        values, sizes = tf.map_fn(
            lambda one: flat_pixels(*one),
            (contents, shapes),
            fn_output_signature=(
                tf.RaggedTensorSpec((None,), tf.uint8, ragged_rank=0),
                tf.TensorSpec((3,), tf.int32),
            ),
        )
        resized = tf.numpy_function(
            partial(resize_each, size=size),
            (values.values, values.row_splits, sizes),
            tf.float32,
            stateful=False,
        )
        return tf.ensure_shape(resized, (_RESIZED_TOGETHER, size, size, 3))

    def decode_span(contents: Any, shapes: Any) -> Any:
        count = contents.shape[0]
        missing = -count % _RESIZED_TOGETHER
        contents = tf.concat([contents, tf.fill((missing,), "")], axis=0)
        shapes = tf.concat([shapes, tf.fill((missing, 3), -1)], axis=0)
        images = tf.map_fn(
            lambda some: decode_some(*some),
            (
                tf.reshape(contents, (-1, _RESIZED_TOGETHER)),
                tf.reshape(shapes, (-1, _RESIZED_TOGETHER, 3)),
            ),
            fn_output_signature=tf.TensorSpec((_RESIZED_TOGETHER, size, size, 3), tf.float32),
            parallel_iterations=1,
        )
        return tf.reshape(images, (-1, size, size, 3))[:count]

    return decode_span


def _one_image() -> list[Any]:
    """Signature of an image's bytes (or raw pixels) and its shape."""
    import tensorflow as tf

    return [tf.TensorSpec((), tf.string), tf.TensorSpec((3,), tf.int32)]


def _each(one: Callable[[Any, Any], Any], contents: Any, shapes: Any, spec: Any) -> Any:
    """Map a function of one image over a span, one after the other: spans run beside each other, which costs less."""
    import tensorflow as tf

    return tf.map_fn(
        lambda item: one(*item), (contents, shapes), fn_output_signature=spec, parallel_iterations=1
    )


def _pixels(content: Any, shape: Any, size: int, fast: bool) -> Any:
    """Decode one image, or take its raw pixels → (H, W, 3) uint8."""
    import tensorflow as tf

    def encoded() -> Any:
        # Of a WebP with transparency the decoder gives four channels or none; of all others it takes three.
        return tf.cond(
            tf.equal(tf.strings.substr(content, 0, 4), b"RIFF"),
            lambda: tf.io.decode_image(content, expand_animations=False)[..., :3],
            lambda: tf.io.decode_image(content, channels=3, expand_animations=False),
        )

    def scaled() -> Any:
        """A JPEG at the largest divisor of its sides that leaves both no smaller than the network's."""
        divisors = [*_SCALES, 1]
        branches = [partial(tf.io.decode_jpeg, content, channels=3, ratio=divisor) for divisor in divisors]
        # decode_jpeg takes its ratio when the graph is made.
        return tf.switch_case(_scale(tf.io.extract_jpeg_shape(content)[:2], size), branches)

    def decoded() -> Any:
        return tf.cond(_starts_with(content, _JPEG), scaled, encoded) if fast else encoded()

    def raw() -> Any:
        return tf.reshape(tf.io.decode_raw(content, tf.uint8), shape)

    return tf.ensure_shape(tf.cond(shape[0] > 0, raw, decoded), (None, None, 3))


def _scale(sides: Any, size: int) -> Any:
    """Place among ``(*_SCALES, 1)`` of the divisor that a JPEG of these sides (2,) is decoded by."""
    import tensorflow as tf

    short = tf.reduce_min(sides)
    fitting = tf.stack([-(-short // divisor) >= size for divisor in _SCALES] + [True])
    return tf.argmax(tf.cast(fitting, tf.int32), output_type=tf.int32)


def _longer_side(content: Any, shape: Any, *, size: int, fast: bool) -> Any:
    """Larger of an image's decoded height and width, int32; 0 where there is no image, and much where it is unknown."""
    import tensorflow as tf

    def jpeg() -> Any:
        sides = tf.io.extract_jpeg_shape(content)[:2]
        divisor = tf.gather([*_SCALES, 1], _scale(sides, size)) if fast else 1
        return tf.reduce_max(-(-sides // divisor))

    def png() -> Any:
        # Width and height, big-endian, open the first chunk. Zeros stand in for what a file that is cut off has not.
        header = tf.strings.substr(content + bytes(_PNG_SIZE + 8), _PNG_SIZE, 8)
        return tf.reduce_max(tf.io.decode_raw(header, tf.int32, little_endian=False))

    def encoded() -> Any:
        other = partial(tf.constant, tf.int32.max)
        return tf.cond(
            _starts_with(content, _JPEG), jpeg, lambda: tf.cond(_starts_with(content, _PNG), png, other)
        )

    return tf.cond(shape[0] == 0, encoded, lambda: tf.maximum(tf.reduce_max(shape[:2]), 0))


def _starts_with(content: Any, magic: bytes) -> Any:
    import tensorflow as tf

    return tf.equal(tf.strings.substr(content, 0, len(magic)), magic)


def pillow() -> dict[str, str]:
    """Pillow and its version, as the feature file records them.

    Raises:
        MissingLibraryError: it is not installed.
    """
    from pool3_kernels.resize import clean

    try:
        return {"pillow": clean.version()}
    except ImportError as error:
        raise MissingLibraryError(
            f"the resize clean is Pillow's, which cannot be imported ({error}); install it by "
            "pip install 'pool3[clean]', or choose another --resize"
        ) from error
