"""What every reader ends in: named float32 tensors, checked against the backbone's table, with a digest."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pool3.backbones import Backbone
from pool3.errors import WeightsError


@dataclass(frozen=True)
class LoadedWeights:
    """Weights that passed every check, and where they came from.

    Attributes:
        tensors: canonical name → float32 array of the shape in ``backbone.tensors()``.
        name: of the registry, ``random:SEED``, or ``custom``.
        sha256: of the file; of random weights, their `tensor_digest`.
        tensor_digest: see `tensor_digest`.
        format: of the file, or ``random``.
        path: of the file; None for random weights.
    """

    tensors: Mapping[str, NDArray[np.float32]]
    name: str
    sha256: str
    tensor_digest: str
    format: str
    path: Path | None


class Place(NamedTuple):
    """Where a file's tensor goes: the canonical name, and the axes of the file's array in canonical order."""

    canonical: str
    axes: tuple[int, ...]


Layout = Mapping[str, Place]
"""A file's tensor names → where each goes."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor that lies in a file: its shape is known, its values are read on demand (any real dtype)."""

    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]


def gather(
    stored: Mapping[str, Stored], layout: Layout, backbone: Backbone, path: Path, *, need_dense: bool
) -> dict[str, NDArray[np.float32]]:
    """Read a file's tensors into canonical names and shapes.

    Shapes are compared before anything is read, so a file cannot make pool3 allocate more than it needs.

    Args:
        stored: all tensors of the file that belong to a network.
        layout: the file's names of the backbone's tensors.
        backbone: what the tensors are for.
        path: of the file, for messages.
        need_dense: whether a file without the classifier's tensors is refused.

    Returns:
        Canonical name → float32, C-contiguous, in the order of ``backbone.tensors()``; without the
        classifier's tensors where the file has none of them.

    Raises:
        WeightsError: a tensor is missing, left over, of a wrong shape or not finite; a variance is negative.
    """
    surplus = sorted(set(stored) - set(layout))
    if surplus:
        raise WeightsError(
            f"{path} holds {len(surplus)} tensor(s) that {backbone.name} has no place for, the first being "
            f"{surplus[0]!r}; give weights made for {backbone.name}, or name another --backbone."
        )
    shapes = backbone.tensors()
    without_dense = not need_dense and not any(
        place.canonical in backbone.dense and name in stored for name, place in layout.items()
    )
    found: dict[str, NDArray[np.float32]] = {}
    for name, place in layout.items():
        if place.canonical in backbone.dense and without_dense:
            continue
        if name not in stored:
            hint = "; features before the classifier need none" if place.canonical in backbone.dense else ""
            raise WeightsError(
                f"{path} holds no tensor {name!r}, which {backbone.name} needs{hint}; "
                "give a complete weights file."
            )
        shape = shapes[place.canonical]
        wanted = tuple(shape[place.axes.index(axis)] for axis in range(len(shape)))
        if stored[name].shape != wanted:
            raise WeightsError(
                f"Tensor {name!r} in {path} has shape {stored[name].shape}, "
                f"where {backbone.name} needs {wanted}; "
                f"give weights made for {backbone.name}, or name another --backbone."
            )
        found[place.canonical] = _checked(stored[name].read(), name, place, path)
    return {canonical: found[canonical] for canonical in shapes if canonical in found}


def _checked(values: NDArray[Any], name: str, place: Place, path: Path) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what overflows float32 is found as infinite below
        array = np.ascontiguousarray(values.transpose(place.axes), dtype=np.float32)
    if not np.isfinite(array).all():
        raise WeightsError(
            f"Tensor {name!r} in {path} holds NaN or infinite values; give an undamaged weights file."
        )
    if place.canonical.endswith("/variance") and (array < 0).any():
        raise WeightsError(
            f"Tensor {name!r} in {path} holds a negative variance; give an undamaged weights file."
        )
    return array


def tensor_digest(tensors: Mapping[str, NDArray[np.float32]]) -> str:
    """SHA-256 that is equal for the same weights in any file format.

    Over the tensors sorted by name, each as: UTF-8 name, NUL, count of dimensions and dimensions as
    little-endian int64, values as little-endian float32 in C order.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(name.encode() + b"\0" + struct.pack(f"<{array.ndim + 1}q", array.ndim, *array.shape))
        digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    return digest.hexdigest()
