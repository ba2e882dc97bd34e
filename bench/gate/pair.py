"""One pair: both sides alive at once in fresh processes, and sampled in turns, so that drift hits both alike."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.gate.decision import Decision, Verdict
from bench.gate.trees import GateError, Tree
from bench.outputs import changed
from bench.protocol import Worker, WorkerError

BLOCK_SECONDS = 1.0
"""Samples of a case are taken in turns until each side has had about so long; one of each at least."""

MOST_SAMPLES = 9
"""Of a case and a side in a pair."""

Measured = tuple[float, float] | Decision
"""Seconds of base and head, or what there is to say instead."""


@contextmanager
def both(base: Tree, head: Tree) -> Iterator[tuple[Worker, Worker]]:
    """Start both sides at once, and end them with the block.

    Raises:
        GateError: one cannot run, or ends within the block; the message has its last words.
    """
    with tempfile.TemporaryDirectory(prefix="pool3-gate-") as scratch, ExitStack() as stack:
        try:
            sides = [
                stack.enter_context(tree.side(Path(scratch) / name))
                for tree, name in ((base, "base"), (head, "head"))
            ]
            for side in sides:
                side.answer()
            yield sides[0], sides[1]
        except WorkerError as error:
            raise GateError(f"cannot run these cases: {error}") from error


def take_pair(
    number: int, base: Tree, head: Tree, names: Sequence[str], say: Callable[[str], None] = lambda _: None
) -> dict[str, Measured]:
    """Measure the cases on both sides; in the first pair, compare what they compute as well.

    Args:
        number: of the pair; odd ones begin with the head.
        base: one tree.
        head: the other.
        names: whole names of cases.
        say: takes what is being done, for people.

    Raises:
        GateError: see `both`.
    """
    say("starting both sides")
    with both(base, head) as sides:
        say("preparing both sides")
        for side in sides:
            side.tell({"prepare": list(names), "outputs": number == 0})
        ready = [side.answer() for side in sides]
        found: dict[str, Measured] = {}
        for name in names:
            say(name)
            found[name] = unlike(name, *ready) or _in_turns(number, name, *sides)
        return found


def unlike(name: str, base: Mapping[str, Any], head: Mapping[str, Any]) -> Decision | None:
    """Why the times of a case are not to be compared; None where they are."""
    for side in (base, head):
        if name in side["errors"]:
            return Decision(Verdict.INCOMPARABLE, reason=side["errors"][name])
    outputs = [side["outputs"].get(name) for side in (base, head)]
    if None in outputs:
        return None  # what computes nothing, or was compared in an earlier pair
    different, said = changed(*outputs)
    return Decision(Verdict.CHANGED, reason=said) if different else None


def _in_turns(number: int, name: str, base: Worker, head: Worker) -> tuple[float, float]:
    """Median seconds of each side."""

    def sampler(side: Worker) -> Callable[[], float]:
        return lambda: float(side.ask({"sample": name})["seconds"])

    return in_turns(number, sampler(base), sampler(head))


def in_turns(number: int, base: Callable[[], float], head: Callable[[], float]) -> tuple[float, float]:
    """Sample two sides in the order ABBA…, or BAAB… where `number` is odd; return the median of each."""
    times: tuple[list[float], list[float]] = ([], [])
    turn, count = number, 1
    while len(times[0]) < count:
        first = turn % 2
        for which in (first, 1 - first):
            times[which].append((base, head)[which]())
        turn += 1
        count = min(MOST_SAMPLES, math.ceil(BLOCK_SECONDS / max(min(times[0][0], times[1][0]), 1e-9)))
    return statistics.median(times[0]), statistics.median(times[1])
