"""The choice of a run's precision, and the check of it on the run's own images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pool3.backbones import LEAST_COSINE, Backbone
from pool3.devices import Placement, choose_precision

CHECKED = 64
"""Images of a run that are computed in float32 too."""

NONE = -1.0
"""Stands for a cosine that could not be computed."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A precision.

    Attributes:
        precision: ``float32``, ``bfloat16`` or ``float16``.
        reason: why that one, in a clause.
        cosine: smallest cosine with float32 on the run's first images; 1 for float32, `NONE` where there is none.
        warning: what the user should know; empty where there is nothing.
    """

    precision: str
    reason: str
    cosine: float
    warning: str = ""


def choose(
    asked: str, backbone: Backbone, placement: Placement, smallest_cosine: Callable[[str], float]
) -> Choice:
    """Choose the precision of a run.

    Args:
        asked: one of `pool3.spec.PRECISIONS`.
        backbone: the network.
        placement: where it runs.
        smallest_cosine: computes the run's first images in a precision and in float32, see the function of that name.
    """
    if asked == "float32":
        return Choice(asked, "asked for", 1.0)
    if asked != "auto":
        cosine = smallest_cosine(asked)
        warning = ""
        if cosine < LEAST_COSINE:
            warning = f"what {asked} does to {backbone.name} could not be told from the first images"
        if NONE < cosine < LEAST_COSINE:
            warning = (
                f"{asked} moves features of {backbone.name}: the smallest cosine with float32 among the first images "
                f"is {cosine:.5f}, below {LEAST_COSINE}"
            )
        return Choice(asked, "asked for", cosine, warning)
    fast, reason = choose_precision(placement)
    if fast == "float32":
        return Choice(fast, reason, 1.0)
    contract = backbone.contracts.get(fast)
    if contract is None or not contract.holds:
        known = "was not measured"
        if contract is not None:
            known = f"gave cosines down to {contract.cosine:.4f} and moved accuracy by {contract.accuracy:+.2f} points"
        return Choice("float32", f"{reason}, but {backbone.name} in {fast} {known}", 1.0)
    cosine = smallest_cosine(fast)
    if cosine == NONE:
        return Choice("float32", f"{reason}, but the first images could not be compared in {fast}", 1.0)
    if cosine < LEAST_COSINE:
        found = (
            f"the smallest cosine with float32 among the first images is {cosine:.5f}, below {LEAST_COSINE}"
        )
        return Choice("float32", f"in {fast}, {found}", 1.0, f"running in float32: in {fast}, {found}")
    return Choice(fast, reason, cosine)


def expected(asked: str, backbone: Backbone, placement: Placement) -> str:
    """The precision that a run will have unless its own images speak against it; `asked` as for `choose`."""
    if asked != "auto":
        return asked
    contract = backbone.contracts.get(fast := choose_precision(placement)[0])
    return fast if contract is not None and contract.holds else "float32"


def smallest_cosine(reduced: NDArray[np.float32], full: NDArray[np.float32]) -> float:
    """Smallest cosine of the angle between rows; `NONE` without rows, and where a row has a value that is no number.

    Args:
        reduced: (n, D).
        full: (n, D).
    """
    if not len(full) or not np.isfinite(reduced).all():
        return NONE
    a, b = reduced.astype(np.float64), full.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products = np.einsum("nd,nd->n", a, b)
    # Two rows of zeros agree; a row of zeros and another one do not.
    same = (a == b).all(axis=1)
    cosines = np.where(
        same, 1.0, np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    )
    return float(cosines.min())
