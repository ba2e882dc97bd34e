"""Whether the features of two files may be compared at all: one answer for all that compares them."""

from __future__ import annotations

from pool3.errors import EvaluationError
from pool3.store import differences
from pool3.store.table import Table

SAME_FEATURES = ("backbone", "feature", "tensor_digest", "preprocessing", "precision", "decoder")
"""Fields of the provenance in which two files must agree for their features to be comparable; the source may differ."""


def check_comparable(one: Table, other: Table, *, force: bool = False) -> list[str]:
    """Refuse features of different kinds.

    Args:
        one: of the one file.
        other: of the other.
        force: compare them all the same, if only they are equally wide.

    Returns:
        What differs, one entry a field; nothing unless forced.

    Raises:
        EvaluationError: they differ in a field of `SAME_FEATURES`, or in their width.
    """
    found = differences(one.provenance, other.provenance, SAME_FEATURES)
    widths = one.features.shape[1], other.features.shape[1]
    if widths[0] != widths[1]:
        found.append(f"width: {widths[0]} → {widths[1]}")
    if found and not (force and widths[0] == widths[1]):
        raise EvaluationError(
            f"the features of {one.path} and {other.path} are of different kinds ({'; '.join(found)}); "
            "extract both with the same settings"
        )
    return found
