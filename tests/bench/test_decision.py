"""The gate's decisions on samples whose truth is known: nothing here measures time."""

import numpy as np
import pytest

from bench.gate.decision import (
    FAMILY_ALPHA,
    LOOKS,
    SAME_ALPHA,
    Verdict,
    compare,
    decide,
    exit_code,
    level,
    looks,
)

SEEDS = 200
CASES = 10


def pairs(seed: int, count: int, change: float, *, noise: float = 0.03) -> tuple[np.ndarray, np.ndarray]:
    """Times with noise, drift that both sides share, and an outlier now and then, as other load makes them."""
    rng = np.random.default_rng(seed)
    drift = np.exp(np.cumsum(rng.normal(0, 0.02, count)))
    base, head = (drift * np.exp(rng.normal(0, noise, count)) for _ in range(2))
    for side in (base, head):
        side[rng.random(count) < 0.03] *= 1.5
    return base, head * (1 + change)


def gate(seed: int, change: float, *, cases: int = CASES) -> Verdict:
    """Add pairs look by look until the case is decided, as the gate does."""
    base, head = pairs(seed, looks(cases)[-1], change)
    verdict = Verdict.UNSURE
    for count in looks(cases):
        verdict = decide(base[:count], head[:count], cases=cases).verdict
        if verdict is not Verdict.UNSURE:
            break
    return verdict


def test_a_tenth_more_is_called_slower() -> None:
    found = [gate(seed, 0.10) for seed in range(SEEDS)]
    assert found.count(Verdict.SLOWER) >= 0.95 * SEEDS
    assert Verdict.FASTER not in found


def test_a_tenth_less_is_called_faster() -> None:
    found = [gate(seed, 1 / 1.1 - 1) for seed in range(SEEDS)]
    assert found.count(Verdict.FASTER) >= 0.95 * SEEDS


def test_an_unchanged_family_is_called_slower_in_no_more_than_2_percent() -> None:
    families = [[gate(CASES * seed + case, 0.0) for case in range(CASES)] for seed in range(SEEDS)]
    assert sum(Verdict.SLOWER in family for family in families) <= FAMILY_ALPHA * SEEDS
    same = sum(verdict is Verdict.SAME for family in families for verdict in family)
    assert same >= 0.95 * SEEDS * CASES


def test_a_sure_change_below_the_least_effect_is_no_regression() -> None:
    found = [gate(seed, 0.02) for seed in range(SEEDS)]
    assert found.count(Verdict.SLOWER) <= 0.02 * SEEDS


def test_a_change_at_the_least_effect_is_not_called_the_same() -> None:
    found = [gate(seed, 0.05) for seed in range(SEEDS)]
    assert found.count(Verdict.SAME) <= 2 * SAME_ALPHA * SEEDS


def test_too_few_pairs_are_unsure_however_far_apart() -> None:
    assert decide([1.0] * 5, [2.0] * 5, cases=CASES).verdict is Verdict.UNSURE


@pytest.mark.parametrize("cases", [1, 5, 20])
def test_the_first_look_can_be_significant_and_the_levels_add_up(cases) -> None:
    assert 0.5 ** looks(cases)[0] < level(cases)
    assert sorted(set(looks(cases))) == looks(cases)
    assert level(cases) * 2 * LOOKS * cases == pytest.approx(FAMILY_ALPHA)
    count = looks(cases)[0]
    base, head = pairs(0, count, 0.3, noise=0.01)
    assert decide(base, head, cases=cases).verdict is Verdict.SLOWER


def test_the_effect_is_the_change_of_the_time() -> None:
    found = decide(*pairs(1, 60, 0.2), cases=1)
    assert found.effect == pytest.approx(0.2, abs=0.03)
    assert found.low < found.effect < found.high
    assert found.pairs == 60
    equal = decide([1.0] * 30, [1.0] * 30, cases=1)
    assert (equal.verdict, equal.effect) == (Verdict.SAME, 0.0)


def test_samples_without_pairs() -> None:
    rng = np.random.default_rng(0)
    base = np.exp(rng.normal(0, 0.03, 20))
    for change, expected in ((0.15, Verdict.SLOWER), (-0.15, Verdict.FASTER), (0.0, Verdict.SAME)):
        head = (1 + change) * np.exp(rng.normal(0, 0.03, 20))
        assert compare(base, head, cases=3).verdict is expected
    assert compare(base[:3], 2 * base[:3], cases=3).verdict is Verdict.UNSURE


@pytest.mark.parametrize(("base", "head"), [([1.0], [1.0, 2.0]), ([], []), ([1.0], [0.0]), ([-1.0], [1.0])])
def test_times_that_are_none(base, head) -> None:
    with pytest.raises(ValueError, match="time"):
        decide(base, head, cases=1)


@pytest.mark.parametrize(
    ("verdicts", "code", "strict"),
    [
        (["same", "faster"], 0, 0),
        (["same", "slower", "unsure"], 1, 1),
        (["changed output"], 1, 1),
        (["same", "unsure"], 3, 1),
        (["not comparable"], 3, 1),
        ([], 3, 1),
    ],
)
def test_exit_codes(verdicts, code, strict) -> None:
    assert exit_code(map(Verdict, verdicts), strict=False) == code
    assert exit_code(map(Verdict, verdicts), strict=True) == strict
