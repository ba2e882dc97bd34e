"""Statistics of samples that were taken in rounds: percentiles, and ratios with what chance may have done to them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of medians with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def percentile(samples: Sequence[float], p: int) -> float:
    """The p-th percentile, by linear interpolation."""
    return float(np.percentile(samples, p))


def ratio(a: Sequence[float], b: Sequence[float], *, resamples: int = 10_000, seed: int = 0) -> Ratio:
    """Median of `a` by median of `b`, one sample of each a round.

    The bootstrap draws rounds, so that what slowed both in a round stays together.

    Raises:
        ValueError: there are no samples, or not as many of one as of the other.
    """
    if not a or len(a) != len(b):
        raise ValueError(f"a ratio takes one sample of each a round; received {len(a)} and {len(b)}")
    rounds = np.random.default_rng(seed).integers(0, len(a), (resamples, len(a)))
    found = np.median(np.asarray(a)[rounds], axis=1) / np.median(np.asarray(b)[rounds], axis=1)
    low, high = np.percentile(found, (2.5, 97.5))
    return Ratio(statistics.median(a) / statistics.median(b), float(low), float(high))


def difference(features: np.ndarray, reference: np.ndarray) -> float:
    """Largest absolute difference by the largest absolute value of the reference; infinite where shapes differ."""
    if features.shape != reference.shape or not np.isfinite(features).all():
        return float("inf")
    return float(np.abs(features - reference).max() / np.abs(reference).max())
