"""One image → a small picture, whatever it is: a file in any mode, pixels, or something hostile."""

from __future__ import annotations

import base64
import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.errors import MissingLibraryError
from pool3.sources import Unreadable
from pool3.sources.base import Content

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
"""What the pipeline reads; Pillow's other decoders are never asked."""

MAX_PIXELS = 1 << 27
"""A larger image gets no picture: 134 million pixels, 400 MB decoded."""

SMALL = 64
"""Sides up to which a picture is shown pixel by pixel, enlarged, rather than smoothed."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a page.

    Attributes:
        uri: ``data:image/…``; complete.
        width, height: in pixels, as stored.
        pixelated: whether it is so small that it should be enlarged without smoothing.
    """

    uri: str
    width: int
    height: int
    pixelated: bool


def pillow() -> Any:
    """The module ``PIL.Image``.

    Raises:
        MissingLibraryError: it is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingLibraryError(
            f"pictures need Pillow, which cannot be imported ({error}); install it by "
            "pip install 'pool3[report]', or leave them out by --no-images"
        ) from error
    return Image


def shrink(content: Content, side: int) -> NDArray[np.uint8] | None:
    """Decode an image and shrink it to fit into a square; a smaller one stays as it is.

    The first frame of an animation; alpha over white; 16 bits a channel as their upper 8; the orientation of EXIF
    is not applied, as it is not when features are computed.

    Args:
        content: as a source yields it.
        side: of that square, in pixels.

    Returns:
        (h, w, 3) uint8 with h, w ≤ `side`, or None where it cannot be decoded or is larger than `MAX_PIXELS`.
    """
    if isinstance(content, Unreadable):
        return None
    image_module = pillow()
    try:
        # Pillow warns of large and odd files; here those either work or get no picture.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _shrunk(image_module, content, side)
    except Exception:  # noqa: BLE001 - decoders raise nearly anything on hostile files, and a picture is no result
        return None


def _shrunk(image_module: Any, content: bytes | NDArray[np.uint8], side: int) -> NDArray[np.uint8] | None:
    if isinstance(content, bytes):
        image = image_module.open(io.BytesIO(content), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            return None
        # A JPEG is scaled while it is decoded; the mode stays.
        image.draft(image.mode, (2 * side, 2 * side))
    else:
        if content.shape[0] * content.shape[1] > MAX_PIXELS:
            return None
        image = image_module.fromarray(np.ascontiguousarray(content))
    image = _rgb(image_module, image)
    if max(image.size) > side:
        image.thumbnail((side, side), image_module.Resampling.LANCZOS, reducing_gap=2.0)
    return np.asarray(image, np.uint8)


def _rgb(image_module: Any, image: Any) -> Any:
    if image.mode.startswith("I"):  # PNG of 16 bits; Pillow's own conversion would clip it at 255
        return image_module.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = image_module.new("RGBA", image.size, "white")
        return image_module.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def encode(pixels: NDArray[np.uint8]) -> Picture:
    """A picture of its own: PNG, so exact, up to `SMALL`; JPEG above.

    Args:
        pixels: (h, w, 3) uint8.
    """
    height, width = pixels.shape[:2]
    small = max(height, width) <= SMALL
    kind = "png" if small else "jpeg"
    return Picture(data_uri(pixels, kind), width, height, small)


def data_uri(pixels: NDArray[np.uint8], kind: str, quality: int = 85) -> str:
    """Encode pixels (h, w, 3) uint8 as a ``data:`` URI; `kind` is ``png`` or ``jpeg`` (colours not subsampled)."""
    image = pillow().fromarray(pixels)
    file = io.BytesIO()
    if kind == "png":
        image.save(file, "PNG", optimize=True)
    else:
        image.save(file, "JPEG", quality=quality, subsampling=0, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
