"""``pool3 info``: what a feature file holds, or how far an unfinished one has come."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def info(
    output: Annotated[Path, typer.Argument(metavar="OUT.h5", help="Feature file.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Show counts, labels, failures and provenance of a feature file, finished or not."""
    from pool3.commands.output import print_json
    from pool3.store import info as describe

    facts = describe(output)
    if json:
        print_json(facts)
        return
    _show(facts)


def _show(facts: dict[str, Any]) -> None:
    from pool3.commands.output import print_aligned

    rows = {
        "file": facts["path"],
        "state": _state(facts),
        "inputs": f"{facts['inputs']:,}",
        "rows": f"{facts['rows']:,} of {facts['width']:,} numbers",
        "failures": f"{facts['failures']:,}",
        "size": f"{facts['bytes'] / 2**20:,.1f} MiB",
    }
    if facts["labels"]:
        counts = [f"{name} {count:,}" for name, count in facts["labels"].items()]
        rows["labels"] = ", ".join(counts)
    if facts["unlabelled"]:
        rows["unlabelled"] = f"{facts['unlabelled']:,} rows"
    for reason in facts["failure_reasons"]:
        rows[f"failed: {reason['stage']}, {reason['error']}"] = f"{reason['count']:,}"
    rows["fingerprint"] = facts["fingerprint"] or ""
    rows |= {name.replace("_", " "): _plain(value) for name, value in facts["provenance"].items()}
    if facts["timing"]:
        rows |= _timing(facts["timing"])
    if len(facts["environments"]) > 1:
        for part in facts["environments"]:
            rows[f"images {part['start']:,} to {part['stop']:,}"] = (
                f"{part['device']}, {_plain(part['libraries'])}"
            )
    print_aligned(rows)
    for failure in facts["failed"]:
        print(f"  {failure['index']} {failure['id']}: {failure['stage']}: {failure['message']}")
    if facts["failures"] > len(facts["failed"]):
        print(f"  and {facts['failures'] - len(facts['failed']):,} more, in /failures of the file")


def _state(facts: dict[str, Any]) -> str:
    if facts["state"] == "sealed":
        return f"sealed {facts['finished']}"
    ranges = ", ".join(f"{start:,}–{stop:,}" for start, stop in facts["committed"])
    return (
        f"unfinished, {facts['progress']:.1%} committed ({ranges or 'nothing yet'}); run the extraction again"
    )


def _timing(timing: dict[str, Any]) -> dict[str, str]:
    rate = timing["images_per_second"]
    once = f", {rate:,.1f} images/s once started" if rate else ""
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in timing["stages"].items())
    return {"time": f"{timing['seconds']:,.1f} s for {timing['images']:,} images{once}", "of which": stages}


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    if isinstance(value, list):
        return " × ".join(map(str, value))
    return str(value)
