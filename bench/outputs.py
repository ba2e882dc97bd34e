"""What a case computed: a digest that tells whether it is the same, and samples that tell how far apart it is."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE = {"float32": 1e-5, "bfloat16": 5e-2, "float16": 5e-3}
"""Largest difference, by the largest value, that is another rounding and not another output; by precision, as
`pool3.verification` has them."""

VALUES = 64
"""Values that are kept of an output, evenly spread."""

PROJECTIONS = 4
"""Sums of all values, each with a sign drawn by a seed: what changes between the kept values shows in them."""

_SIGMAS = 6
"""Differences of the projections up to so many times the tolerance are rounding: of errors e with random signs, the sum
by the square root of their count has the standard deviation √(mean e²), at most the largest error."""

_NO_NUMBER = float(np.finfo(np.float64).max)
"""Stands for NaN and the infinities, which JSON cannot hold."""


def describe(array: NDArray[Any], precision: str = "float32") -> dict[str, Any]:
    """JSON-able: ``shape``, ``dtype``, ``sha256`` of both and the bytes, and what tells how far apart two outputs are.

    That is some of its ``values``, its ``projections`` (Σ sᵢxᵢ / √n with the signs sᵢ of a seeded generator) and the
    ``largest`` value.

    Args:
        array: what was computed, of any shape.
        precision: that it was computed in, which sets the tolerance.
    """
    array = np.ascontiguousarray(array)
    flat = array.reshape(-1).astype(np.float64)
    flat[~np.isfinite(flat)] = _NO_NUMBER
    head = f"{array.shape} {array.dtype}".encode()
    places = np.linspace(0, array.size - 1, min(VALUES, array.size)).astype(np.int64)
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "sha256": hashlib.sha256(head + array.tobytes()).hexdigest(),
        "values": [float(value) for value in flat[places]],
        "projections": _projections(flat),
        "largest": float(np.abs(flat).max()) if array.size else 0.0,
        "precision": precision,
    }


def _projections(flat: NDArray[np.float64]) -> list[float]:
    signs = np.random.default_rng(0)
    scale = np.sqrt(max(1, flat.size))
    with np.errstate(over="ignore"):
        found = [
            float(np.where(signs.random(flat.size, np.float32) < 0.5, -flat, flat).sum() / scale)
            for _ in range(PROJECTIONS)
        ]
    return [value if np.isfinite(value) else _NO_NUMBER for value in found]


def changed(before: dict[str, Any], after: dict[str, Any]) -> tuple[bool, str]:
    """Whether the second output is another one than the first, and a sentence on it."""
    for name in ("shape", "dtype", "precision"):
        if before[name] != after[name]:
            return True, f"the output's {name} is {after[name]}, formerly {before[name]}"
    if before["sha256"] == after["sha256"]:
        return False, "Outputs are equal bit for bit."
    if _NO_NUMBER in (before["largest"], after["largest"]):
        return True, "the outputs differ, and hold values that are no numbers"
    bound = TOLERANCE[before["precision"]]
    most = max(abs(a - b) for a, b in zip(after["values"], before["values"], strict=True))
    most = max(most, abs(after["largest"] - before["largest"]))
    sums = zip(after["projections"], before["projections"], strict=True)
    most = max(most, max(abs(a - b) for a, b in sums) / _SIGMAS)
    share = most / before["largest"] if before["largest"] else float("inf")
    if share <= bound:
        return False, f"Outputs differ by {share:.1e} of the largest value, within {bound:.0e}."
    return True, f"outputs differ by {share:.1e} of the largest value, more than {bound:.0e}"
