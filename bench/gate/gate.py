"""``python -m bench gate --base REF``: pairs of fresh processes, look by look, until every case is decided."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.gate.decision import MINIMUM_EFFECT, Decision, Verdict, decide, exit_code, looks
from bench.gate.pair import Measured, both, take_pair
from bench.gate.report import to_dict, write_reports
from bench.gate.trees import GateError, Tree, base, git, head
from bench.outputs import TOLERANCE
from pool3.commands.output import Report, note, progress

CASES = ("forward/inception_v3/float32/8", "decode/32x32", "decode/500x375", "hash/500x375", "end_to_end")
"""What is compared by default: what computes, and nothing that waits for a disk."""

SCHEMA = 1


def main(arguments: Sequence[str]) -> int:
    """Compare, print the table, write the reports; see `decision.exit_code`."""
    options = _options(arguments)
    names = tuple(dict.fromkeys(options.case or CASES))
    try:
        with base(options.base, options.environments) as old, progress("comparing", "pairs") as report:
            new = head()
            found, facts = _compare(
                old, new, names, options.budget * 60, options.minimum_effect / 100, report
            )
            commits = {"base": old.commit, "head": new.commit}
    except GateError as error:
        note(str(error))
        if "rev-parse" in str(error):
            return 2
        found = {n: Decision(Verdict.INCOMPARABLE, reason=str(error)) for n in names}
        facts = {"output": "", "machine": None, "seconds": {}}
        commits = {"base": git("rev-parse", options.base), "head": head().commit}
    old_name, new_name = (commit[:12] + ("-dirty" * commit.endswith("-dirty")) for commit in commits.values())
    print(write_reports(found, old_name, new_name, options, facts["output"]))
    document = {
        "schema": SCHEMA,
        **commits,
        "minimum_effect": options.minimum_effect / 100,
        **facts,
        "decisions": {name: to_dict(decision) for name, decision in found.items()},
    }
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return exit_code((decision.verdict for decision in found.values()), strict=options.strict)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench gate", description=__doc__)
    parser.add_argument("--base", required=True, help="commit to compare with, such as origin/main")
    parser.add_argument("--case", action="append", help=f"whole name of a case; default: {', '.join(CASES)}")
    parser.add_argument(
        "--budget", type=float, default=15, help="minutes after which no pair is begun (default: 15)"
    )
    parser.add_argument(
        "--minimum-effect", type=float, default=100 * MINIMUM_EFFECT, help="percent of the time (default: 5)"
    )
    parser.add_argument("--strict", action="store_true", help="exit 1, not 3, where a case stays undecided")
    parser.add_argument("--markdown", type=Path, help="write the table there")
    parser.add_argument("--junit", type=Path, help="write JUnit XML there")
    parser.add_argument("--json", type=Path, help="write all samples and decisions there")
    parser.add_argument("--environments", type=Path, default=Path("out/gate"), help="for other dependencies")
    options = parser.parse_args(arguments)
    if options.budget <= 0 or options.minimum_effect <= 0:
        parser.error("--budget and --minimum-effect must be above 0")
    return options


def _compare(
    old: Tree, new: Tree, names: Sequence[str], budget: float, minimum_effect: float, report: Report
) -> tuple[dict[str, Decision], dict[str, Any]]:
    """Each case's decision; and what became of the features, the machine, and all seconds by case and side."""
    began = time.perf_counter()
    report(0, None, "comparing features")
    changed, said, machine = _output(old, new)
    facts: dict[str, Any] = {"output": said, "machine": machine, "seconds": {}}
    if changed:
        return {name: Decision(Verdict.CHANGED, reason=said) for name in names}, facts

    def pair(number: int, open_: Sequence[str]) -> dict[str, Measured]:
        def say(what: str) -> None:
            minutes = f"{(time.perf_counter() - began) / 60:.0f} of {budget / 60:g} min"
            report(number, looks(len(names))[-1], f"{len(open_)} undecided, {minutes}, {what}")

        return take_pair(number, old, new, open_, say)

    def enough() -> bool:
        return time.perf_counter() - began > budget

    decisions, facts["seconds"] = run_pairs(pair, names, enough, minimum_effect)
    return decisions, facts


def run_pairs(
    pair: Callable[[int, Sequence[str]], dict[str, Measured]],
    names: Sequence[str],
    enough: Callable[[], bool],
    minimum_effect: float,
) -> tuple[dict[str, Decision], dict[str, dict[str, list[float]]]]:
    """Take pairs of the cases that are not decided yet; decide at the looks alone, so that alarms stay rare.

    Args:
        pair: from a number and the open cases to each one's seconds of base and head, or its decision without any.
        names: all cases.
        enough: whether the budget is spent; asked before each pair.
        minimum_effect: see `bench.gate.decision`.
    """
    at = looks(len(names))
    samples: dict[str, dict[str, list[float]]] = {name: {"base": [], "head": []} for name in names}
    decisions = {
        name: Decision(Verdict.UNSURE, reason="the budget ended before the first look") for name in names
    }

    def look() -> None:
        for name in names:
            if decisions[name].verdict is Verdict.UNSURE:
                times = samples[name]
                decisions[name] = decide(
                    times["base"], times["head"], cases=len(names), minimum_effect=minimum_effect
                )

    for number in range(at[-1]):
        open_ = [name for name in names if decisions[name].verdict is Verdict.UNSURE]
        if not open_:
            break
        if enough():
            # One of the looks that the levels allow for, brought forward.
            if number > at[0] and number not in at:
                look()
            break
        for name, measured in pair(number, open_).items():
            if isinstance(measured, Decision):
                decisions[name] = measured
                continue
            samples[name]["base"].append(measured[0])
            samples[name]["head"].append(measured[1])
        if number + 1 in at:
            look()
    for name, decision in decisions.items():
        if decision.verdict is Verdict.UNSURE and not decision.reason:
            why = f"{decision.pairs} pairs do not tell; a quieter machine or a larger --budget might"
            decisions[name] = replace(decision, reason=why)
    return decisions, samples


def _output(old: Tree, new: Tree) -> tuple[bool, str, dict[str, Any]]:
    """Whether the features changed, a sentence on them and on libraries that differ, and the machine."""
    with tempfile.TemporaryDirectory(prefix="pool3-gate-") as scratch, both(old, new) as sides:
        paths = [Path(scratch) / f"{name}.npy" for name in ("base", "head")]
        for side, path in zip(sides, paths, strict=True):
            side.tell({"features": str(path)})
        for side in sides:
            side.answer()
        changed, said = features_changed(*map(np.load, paths))
        if old.python != new.python:
            said += _versions(*(side.ask({"versions": True}) for side in sides))
        return changed, said, sides[1].ask({"machine": True})


def _versions(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """What the environments have in other versions, in a sentence; that one has more than the other is no matter."""
    moved = [
        f"{name} {before[name]} → {after[name]}"
        for name in sorted({*before} & {*after})
        if before[name] != after[name]
    ]
    return f" Libraries differ: {', '.join(moved)}." if moved else ""


def features_changed(before: np.ndarray, after: np.ndarray) -> tuple[bool, str]:
    """Compare features (N, D) of both sides bit for bit, else within the tolerance of float32."""
    if before.shape != after.shape:
        return True, f"features have shape {after.shape}, formerly {before.shape}"
    if before.tobytes() == after.tobytes():
        return False, "Features are equal bit for bit."
    bound = TOLERANCE["float32"]
    scale = float(np.abs(before).max())
    most = float(np.abs(after.astype(np.float64) - before).max()) / scale if scale else float("inf")
    if most <= bound:
        return False, f"Features differ by at most {most:.1e} of the largest one, within {bound:.0e}."
    return True, f"features differ by {most:.1e} of the largest one, more than {bound:.0e}"
