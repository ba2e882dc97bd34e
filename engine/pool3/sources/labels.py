"""From folder names, or from labels that a user hands over, to int32 indices and the names they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool3.errors import SourceError
from pool3.sources.base import NO_LABEL
from pool3.sources.naming import escape, natural_key, unescape

Labels = tuple[NDArray[np.int32], tuple[str, ...]]
"""Labels of shape (N,), as indices, and the names that they index."""


def no_labels(count: int) -> Labels:
    """Labels of `count` images that have none."""
    return np.full(count, NO_LABEL, np.int32), ()


def from_names(names: Sequence[str | None]) -> Labels:
    """Give escaped class names numbers in natural order; None means that an image has no label."""
    found = sorted({name for name in names if name is not None}, key=lambda name: natural_key(unescape(name)))
    index: dict[str | None, int] = {name: position for position, name in enumerate(found)}
    numbers = np.fromiter((index.get(name, NO_LABEL) for name in names), np.int32, len(names))
    return numbers, tuple(found)


def from_first_folder(ids: Iterable[str]) -> Labels:
    """Label each image with the first folder of its id; an image outside any folder has no label."""
    names = []
    for id_ in ids:
        first, slash, _ = id_.partition("/")
        names.append(first if slash else None)
    return from_names(names)


def from_values(values: ArrayLike, count: int, given: str) -> Labels:
    """Read labels that a user provides.

    Args:
        values: shape (count,); integers, where -1 means no label, or strings. The distinct values, in
            ascending (for
            strings: natural) order, become the label names, so that 0 … K-1 stay as they are.
        count: count of images.
        given: what the labels belong to, for the error message.

    Raises:
        SourceError: another shape or dtype, or an integer below -1.
    """
    array = np.asarray(values)
    if array.shape != (count,):
        raise SourceError(
            f"the labels of {given} have shape {array.shape}, but it holds {count} images: give one each"
        )
    if array.dtype.kind == "U":
        return from_names([escape(str(value)) for value in array])
    if array.dtype.kind not in "iu":
        raise SourceError(
            f"the labels of {given} have dtype {array.dtype}: give integers (-1 for no label) or strings"
        )
    distinct, inverse = np.unique(array, return_inverse=True)
    if array.dtype.kind == "i" and distinct.size and distinct[0] < NO_LABEL:
        raise SourceError(f"the labels of {given} hold {distinct[0]}: use 0 and above, or -1 for no label")
    unlabelled = int(array.dtype.kind == "i" and distinct.size > 0 and distinct[0] == NO_LABEL)
    numbers = inverse.reshape(-1).astype(np.int32) - np.int32(unlabelled)  # -1 sorts first, and so becomes -1
    return numbers, tuple(str(value) for value in distinct[unlabelled:])


def from_indices(values: Sequence[int], names: Sequence[str], given: str) -> Labels:
    """Check indices into known class names.

    Raises:
        SourceError: an index is outside ``0 … len(names) - 1``.
    """
    for value in values:
        if not 0 <= value < len(names):
            raise SourceError(f"{given} holds the label {value}, but there are {len(names)} classes")
    return np.asarray(values, np.int32), tuple(names)
