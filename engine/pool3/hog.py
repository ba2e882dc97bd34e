"""Histograms of oriented gradients: what features were before networks, to compare with."""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.decoding import decoded
from pool3.errors import EvaluationError, MissingLibraryError, SourceError
from pool3.sources import SelectionSource, Source, Unreadable, content_sha256
from pool3.store import FeatureFile
from pool3.watching import Watch, unwatched

PARAMETERS: dict[str, Any] = {
    "orientations": 9,
    "pixels_per_cell": (8, 8),
    "cells_per_block": (2, 2),
    "block_norm": "L2-Hys",
}
"""Those of the default detector of N. Dalal and B. Triggs (2005, Histograms of oriented gradients for human detection):
9 bins over 0°–180°, blocks of 2×2 cells of 8×8 pixels, a stride of one cell, L2-Hys, and of the colour channels the one
with the strongest gradient. scikit-image has neither the paper's Gaussian window nor its interpolation between bins."""


@dataclass(frozen=True, slots=True, eq=False)
class Hog:
    """HOG of images: (N, D) float32, and the seconds that it took to read, decode and describe them."""

    rows: NDArray[np.float32]
    seconds: float


def check_hog() -> str:
    """scikit-image's version.

    Raises:
        MissingLibraryError: it is not installed.
    """
    try:
        importlib.import_module("skimage.feature")
    except ImportError as error:
        raise MissingLibraryError(
            f"HOG is scikit-image's, which cannot be imported ({error}); pip install 'pool3[hog]'"
        ) from error
    return version("scikit-image")


def hog_rows(source: Source, file: FeatureFile, *, watch: Watch | None = None) -> Hog:
    """HOG of the image of each row of a feature file, so that both features are of the very same images.

    Args:
        source: what the file was made from.
        file: the feature file.
        watch: told how far it has come.

    Returns:
        A row for each of the file's; D = 324 for images of 32×32.

    Raises:
        SourceError: an image is not the one that its row was computed from, or cannot be read any more.
        EvaluationError: images are of several sizes, or too small for a block.
        MissingLibraryError: scikit-image is not installed.
    """
    check_hog()
    from skimage.feature import hog

    start = time.perf_counter()
    images = SelectionSource(source, file.source_index)
    rows: list[NDArray[np.float32]] = []
    shape: tuple[int, ...] | None = None
    with (watch or unwatched)("HOG", "images") as report:
        contents = zip(images.read(0, len(images)), file.content_sha256, images.ids, strict=True)
        for content, digest, id_ in contents:
            if isinstance(content, Unreadable) or content_sha256(content) != digest.tobytes():
                raise SourceError(
                    f"{id_} is not the image any more that {file.path} has a row of; extract that file again"
                )
            pixels = decoded(content)
            shape = shape or pixels.shape
            if pixels.shape != shape or min(shape[:2]) < 16:
                raise EvaluationError(
                    f"{id_} has {_size(pixels)} pixels and {images.ids[0]} {_size(shape)}: HOG needs images of one "
                    "size, of at least 16×16; CIFAR-10's have 32×32"
                )
            rows.append(np.asarray(hog(pixels, channel_axis=-1, **PARAMETERS), np.float32))
            report(len(rows), len(images))
    return Hog(np.stack(rows), time.perf_counter() - start)


def _size(of: NDArray[np.uint8] | tuple[int, ...]) -> str:
    height, width = (of if isinstance(of, tuple) else of.shape)[:2]
    return f"{height}×{width}"
