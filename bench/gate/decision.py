"""When a difference between two programs counts: a rank test and a least effect, at a known rate of false alarms.

A *pair* is one measurement of each side, taken one after the other, so that drift of the machine hits both. Of a
case's pairs the Wilcoxon signed-rank test (Wilcoxon, "Individual comparisons by ranking methods", Biometrics 1945)
asks whether the logarithms of the ratios lie to one side of 0, and the Hodges-Lehmann estimate says how far. The test
is asked at a few fixed counts of pairs only (*looks*). By Bonferroni's inequality over cases, looks and both
directions, all of them together call an unchanged program slower or faster in at most `FAMILY_ALPHA` of all runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, wilcoxon

FAMILY_ALPHA = 0.02
"""Most false alarms that a run may give, over all its cases and looks."""

MINIMUM_EFFECT = 0.05
"""A change of the time by less than this share is no regression, however sure it is."""

SAME_ALPHA = 0.05
"""Most chance, over a case's looks, of calling a slowdown by the least effect the same. It needs no correction over
cases: an unchanged program is not accused by it."""

LOOKS = 3
"""Counts of pairs at which a case may be decided."""

_GROWTH = 2
"""Each look has so many times the pairs of the one before."""


class Verdict(StrEnum):
    """What became of a case."""

    SAME = "same"
    FASTER = "faster"
    SLOWER = "slower"
    UNSURE = "unsure"
    CHANGED = "changed output"
    INCOMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and what it rests on.

    Attributes:
        verdict: the verdict.
        effect: change of the time, 0.1 for a tenth more; NaN where nothing was measured.
        low: 20th percentile of the change, over pairs.
        high: 80th percentile.
        pairs: pairs, or samples a side, that were looked at.
        reason: why, where it is not plain from the figures.
    """

    verdict: Verdict
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    pairs: int = 0
    reason: str = ""


def level(cases: int) -> float:
    """Significance level of one test of one case, in one direction, at one look."""
    return FAMILY_ALPHA / (2 * cases * LOOKS)


def looks(cases: int) -> list[int]:
    """Counts of pairs at which to decide; the first a little above the least at which 2⁻ⁿ, the least p, is enough."""
    first = math.floor(-math.log2(level(cases))) + 3
    return [round(first * _GROWTH**n) for n in range(LOOKS)]


def decide(
    base: Sequence[float], head: Sequence[float], *, cases: int, minimum_effect: float = MINIMUM_EFFECT
) -> Decision:
    """Decide on a case from its pairs.

    Args:
        base: seconds of the base, one a pair.
        head: seconds of the head, likewise.
        cases: of the family, for the correction.
        minimum_effect: see `MINIMUM_EFFECT`.

    Raises:
        ValueError: the counts differ, there are none, or a time is not above 0.
    """
    if len(base) != len(head):
        raise ValueError(f"a pair has a time of each side; received {len(base)} and {len(head)}")
    logs = _logarithms(head) - _logarithms(base)
    i, j = np.triu_indices(len(logs))

    def p_above(shift: float) -> float:
        return float(wilcoxon(logs - shift, alternative="greater", zero_method="zsplit").pvalue)

    def p_below(shift: float) -> float:
        return float(wilcoxon(logs - shift, alternative="less", zero_method="zsplit").pvalue)

    # Hodges and Lehmann's estimate: the median of the means of all pairs of values.
    centre = float(np.median((logs[i] + logs[j]) / 2))
    return _judge(p_above, p_below, centre, logs, len(logs), level(cases), minimum_effect)


def compare(
    base: Sequence[float], head: Sequence[float], *, cases: int, minimum_effect: float = MINIMUM_EFFECT
) -> Decision:
    """Decide on a case from samples that were not taken in pairs, by Mann and Whitney's rank-sum test.

    What drifted between the two runs is taken for a difference: that is why the gate pairs.
    """
    a, b = _logarithms(base), _logarithms(head)

    def p_above(shift: float) -> float:
        return float(mannwhitneyu(b - shift, a, alternative="greater").pvalue)

    def p_below(shift: float) -> float:
        return float(mannwhitneyu(b - shift, a, alternative="less").pvalue)

    differences = np.subtract.outer(b, a).ravel()
    # One look, so all of a case's share of the false alarms is spent on it.
    alpha = level(cases) * LOOKS
    return _judge(
        p_above,
        p_below,
        float(np.median(differences)),
        differences,
        min(len(a), len(b)),
        alpha,
        minimum_effect,
    )


def _logarithms(times: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(times, np.float64)
    if not values.size or not (values > 0).all():
        raise ValueError("a time above 0 is needed of each side")
    return np.log(values)


def _judge(
    p_above: Callable[[float], float],
    p_below: Callable[[float], float],
    centre: float,
    differences: NDArray[np.float64],
    pairs: int,
    alpha: float,
    minimum_effect: float,
) -> Decision:
    """Slower or faster: sure, and by the least effect; same: sure that it is not slower by the least effect."""
    least = math.log1p(minimum_effect)
    low, high = np.expm1(np.percentile(differences, (20, 80)))
    if centre >= least and p_above(0.0) <= alpha:
        verdict = Verdict.SLOWER
    elif centre <= -least and p_below(0.0) <= alpha:
        verdict = Verdict.FASTER
    elif centre > -least and p_below(least) <= SAME_ALPHA / LOOKS:
        verdict = Verdict.SAME
    else:
        verdict = Verdict.UNSURE
    return Decision(verdict, math.expm1(centre), float(low), float(high), pairs)


def exit_code(verdicts: Iterable[Verdict], *, strict: bool) -> int:
    """0: all are the same or faster; 1: one is slower, or its output changed; 3: one is unsure or not comparable.

    `strict` makes 1 of 3.
    """
    found = set(verdicts)
    if found & {Verdict.SLOWER, Verdict.CHANGED}:
        return 1
    if found & {Verdict.UNSURE, Verdict.INCOMPARABLE} or not found:
        return 1 if strict else 3
    return 0
