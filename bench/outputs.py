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


def describe(array: NDArray[Any], precision: str = "float32") -> dict[str, Any]:
    """JSON-able: ``shape``, ``dtype``, ``sha256`` of both and the bytes, ``values``, ``largest`` and ``precision``.

    Args:
        array: what was computed, of any shape.
        precision: that it was computed in, which sets the tolerance.
    """
    array = np.ascontiguousarray(array)
    head = f"{array.shape} {array.dtype}".encode()
    places = np.linspace(0, array.size - 1, min(VALUES, array.size)).astype(np.int64)
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "sha256": hashlib.sha256(head + array.tobytes()).hexdigest(),
        "values": [float(value) for value in array.reshape(-1)[places]],
        "largest": float(np.abs(array.astype(np.float64)).max()) if array.size else 0.0,
        "precision": precision,
    }


def changed(before: dict[str, Any], after: dict[str, Any]) -> tuple[bool, str]:
    """Whether the second output is another one than the first, and a sentence on it."""
    for name in ("shape", "dtype", "precision"):
        if before[name] != after[name]:
            return True, f"the output's {name} is {after[name]}, formerly {before[name]}"
    if before["sha256"] == after["sha256"]:
        return False, "Outputs are equal bit for bit."
    bound = TOLERANCE[before["precision"]]
    most = max(abs(a - b) for a, b in zip(after["values"], before["values"], strict=True))
    most = max(most, abs(after["largest"] - before["largest"]))
    share = most / before["largest"] if before["largest"] else float("inf")
    if share <= bound:
        return False, f"Outputs differ by {share:.1e} of the largest value, within {bound:.0e}."
    return True, f"outputs differ by {share:.1e} of the largest value, more than {bound:.0e}"
