"""``python -m bench compare A.json B.json``: the gate's verdicts from two result files, B against A."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.gate.decision import MINIMUM_EFFECT, Decision, Verdict, compare, exit_code
from bench.gate.report import to_dict, write_reports
from bench.machine import short
from bench.outputs import changed
from bench.results import ResultError, read

_Case = Mapping[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Compare, print the table, write the reports; see `bench.gate.decision.exit_code`; 2 where a file is no result."""
    parser = argparse.ArgumentParser(prog="python -m bench compare", description=__doc__)
    parser.add_argument("base", type=Path, help="result file of python -m bench to compare with")
    parser.add_argument("head", type=Path, help="result file to judge")
    parser.add_argument(
        "--normalised",
        action="store_true",
        help="compare fractions of each machine's own limit, which different machines may share",
    )
    parser.add_argument(
        "--minimum-effect", type=float, default=100 * MINIMUM_EFFECT, help="percent of the time (default: 5)"
    )
    parser.add_argument("--strict", action="store_true", help="exit 1, not 3, where a case stays undecided")
    parser.add_argument("--markdown", type=Path, help="write the table there")
    parser.add_argument("--junit", type=Path, help="write JUnit XML there")
    parser.add_argument("--json", type=Path, help="write all decisions there")
    options = parser.parse_args(arguments)
    if options.minimum_effect <= 0:
        parser.error("--minimum-effect must be above 0")
    try:
        base, head = read(options.base), read(options.head)
    except ResultError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    decisions = compare_results(
        base, head, normalised=options.normalised, minimum_effect=options.minimum_effect / 100
    )
    remark = differences(base["machine"], head["machine"])
    print(write_reports(decisions, _name(base), _name(head), options, remark))
    if options.json is not None:
        document = {
            "remark": remark,
            "decisions": {name: to_dict(decision) for name, decision in decisions.items()},
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return exit_code((d.verdict for d in decisions.values()), strict=options.strict)


def compare_results(
    base: Mapping[str, Any],
    head: Mapping[str, Any],
    *,
    normalised: bool,
    minimum_effect: float = MINIMUM_EFFECT,
) -> dict[str, Decision]:
    """Decide on every case of either result.

    Args:
        base: a result, as `bench.results.read` gives it.
        head: another.
        normalised: compare the times by those of the case's limit in the same run.
        minimum_effect: see `bench.gate.decision`.
    """
    sides = [{case["name"]: case for case in result["cases"]} for result in (base, head)]
    names = list(dict.fromkeys([*sides[0], *sides[1]]))
    machines = [short(result["machine"]) for result in (base, head)]
    found: dict[str, Decision] = {}
    open_: dict[str, tuple[_Case, _Case]] = {}
    for name in names:
        if missing := [
            side for side, cases in zip(("base", "head"), sides, strict=True) if name not in cases
        ]:
            found[name] = _incomparable(f"the {missing[0]} has not measured it")
            continue
        before, after = sides[0][name], sides[1][name]
        if machines[0] != machines[1] and not normalised:
            found[name] = _incomparable(
                f"measured on {machines[0]} and on {machines[1]}; --normalised compares limits"
            )
        elif reason := _unlike(before, after, normalised=normalised):
            found[name] = _incomparable(reason)
        elif (said := _output(before, after)) is not None:
            found[name] = Decision(Verdict.CHANGED, reason=said)
        else:
            open_[name] = (before, after)
    for name, (before, after) in open_.items():
        times = [
            _normalised(case, cases) if normalised else case["samples"]
            for case, cases in zip((before, after), sides, strict=True)
        ]
        found[name] = compare(*times, cases=len(open_), minimum_effect=minimum_effect)
    return {name: found[name] for name in names}


def differences(base: Mapping[str, Any], head: Mapping[str, Any]) -> str:
    """What of the software and its settings is not alike, in a sentence: it may be what a verdict comes from."""
    found = []
    for part in ("libraries", "settings", "threads", "tensorflow"):
        for name in sorted({*base[part], *head[part]}):
            before, after = (side[part].get(name, "unset") for side in (base, head))
            if before != after:
                found.append(f"{name} {before} → {after}")
    return f"Not alike: {', '.join(dict.fromkeys(found))}." if found else ""


def _incomparable(reason: str) -> Decision:
    return Decision(Verdict.INCOMPARABLE, reason=reason)


def _unlike(before: _Case, after: _Case, *, normalised: bool) -> str:
    """Why two results of a case do not measure the same; empty where they do."""
    for name in ("unit", "quantity", "limit", "limit_units"):
        if before[name] != after[name]:
            return f"its {name} was {before[name]} and is {after[name]}"
    if before["count"] != after["count"] and before["quantity"] == "bytes":
        return f"it counted {before['count']} and counts {after['count']}"
    if (before["output"] is None) != (after["output"] is None):
        return "only one of the runs says what it computed"
    if normalised and not (before["limit_ratio"] and after["limit_ratio"]):
        return "no limit of it was measured in both runs"
    return "a run was throttled" if before.get("throttled") or after.get("throttled") else ""


def _output(before: _Case, after: _Case) -> str | None:
    """What changed in the output; None where nothing did, or none is known."""
    if before["output"] is None or after["output"] is None:
        return None
    different, said = changed(before["output"], after["output"])
    return said if different else None


def _normalised(case: _Case, cases: Mapping[str, _Case]) -> list[float]:
    """Time a unit by the limit's median time a unit: how far from the limit, 1 at it."""
    limit = cases[case["limit"]]["median"]
    return [seconds / case["count"] * limit for seconds in case["samples"]]


def _name(result: Mapping[str, Any]) -> str:
    pool3 = result["machine"]["pool3"]
    return f"{pool3['commit'][:12] or 'unknown'}{'-dirty' * pool3['dirty']} ({result['created']})"
