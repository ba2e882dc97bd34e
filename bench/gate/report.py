"""The gate's result for people, for a pull request, and for a CI's own display."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from bench.gate.decision import Decision, Verdict

_SIGNS = {
    Verdict.SAME: "✅",
    Verdict.FASTER: "🚀",
    Verdict.SLOWER: "❌",
    Verdict.CHANGED: "❌",
    Verdict.UNSURE: "❔",
    Verdict.INCOMPARABLE: "❔",
}


def markdown(decisions: Mapping[str, Decision], base: str, head: str) -> str:
    """A table for a pull request."""
    lines = [
        f"### pool3 bench: `{head}` against `{base}`",
        "",
        "| case | verdict | time | 20th–80th percentile | pairs | |",
        "|---|---|---:|---:|---:|---|",
    ]
    for name, d in decisions.items():
        spread = "–" if math.isnan(d.low) else f"{d.low:+.1%} – {d.high:+.1%}"
        reason = d.reason.replace("|", "\\|").replace("\n", " ")
        lines.append(
            f"| `{name}` | {_SIGNS[d.verdict]} {d.verdict} | {change(d)} | {spread} | {d.pairs or '–'} | {reason} |"
        )
    return "\n".join(lines) + "\n"


def change(decision: Decision) -> str:
    """The effect as a signed share of the time."""
    return "–" if math.isnan(decision.effect) else f"{decision.effect:+.1%}"


def junit(decisions: Mapping[str, Decision], *, strict: bool) -> str:
    """JUnit XML: slower and changed output are failures, what could not be decided is skipped, or fails if `strict`."""
    failed = {Verdict.SLOWER, Verdict.CHANGED}
    open_ = {Verdict.UNSURE, Verdict.INCOMPARABLE}
    if strict:
        failed, open_ = failed | open_, set()
    verdicts = [d.verdict for d in decisions.values()]
    suite = ElementTree.Element(
        "testsuite",
        name="pool3.bench.gate",
        tests=str(len(verdicts)),
        failures=str(sum(v in failed for v in verdicts)),
        skipped=str(sum(v in open_ for v in verdicts)),
        errors="0",
    )
    for name, d in decisions.items():
        case = ElementTree.SubElement(suite, "testcase", classname="pool3.bench", name=name)
        said = f"{d.verdict}, time {change(d)} over {d.pairs} pairs{': ' if d.reason else ''}{d.reason}"
        if d.verdict in failed:
            ElementTree.SubElement(case, "failure", message=said)
        elif d.verdict in open_:
            ElementTree.SubElement(case, "skipped", message=said)
        else:
            ElementTree.SubElement(case, "system-out").text = said
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def to_dict(decision: Decision) -> dict[str, Any]:
    """JSON-able form; no number where none was measured."""
    figures = {name: getattr(decision, name) for name in ("effect", "low", "high")}
    return {
        "verdict": str(decision.verdict),
        **{name: None if math.isnan(value) else round(value, 5) for name, value in figures.items()},
        "pairs": decision.pairs,
        "reason": decision.reason,
    }


def write_reports(
    decisions: Mapping[str, Decision], base: str, head: str, options: Namespace, remark: str = ""
) -> str:
    """Write what the options ``markdown`` and ``junit`` ask for; return the table, the remark under it."""
    text = markdown(decisions, base, head) + (f"\n{remark}\n" if remark else "")
    for path, content in (
        (options.markdown, text),
        (options.junit, junit(decisions, strict=options.strict)),
    ):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    return text
