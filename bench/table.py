"""The table that ``make bench`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(cases: Sequence[Mapping[str, Any]]) -> str:
    """Lay out the cases (`Result.to_dict`), one a line: median rate, 20th and 80th percentile, and the ratios."""
    rows = [
        ("case", "per second", "p20", "p80", "× 33.3 img/s", "× blog_loop", "of limit", "unit"),
        *map(_cells, cases),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(w) for cell, w in zip(row[1:-1], widths[1:-1], strict=True)),
            row[-1],
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join([*lines, *_gpu(cases)])


def _gpu(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    """What NVML told, a line for each case that it watched; nothing without a GPU."""
    return [
        f"{case['name']}: GPU {n['utilisation']:.0%} busy, {n['memory_bytes'] / 2**30:.1f} GiB, {n['watts']:.0f} W, "
        f"{n['megahertz']:.0f} MHz"
        + (f", {n['images_per_joule']:.2f} images/J" if "images_per_joule" in n else "")
        for case in cases
        if (n := case.get("nvml"))
    ]


def _cells(facts: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        facts["name"],
        *(figure(facts[name], facts["quantity"]) for name in ("median", "p20", "p80")),
        *(_ratio(facts[f"{name}_ratio"]) for name in ("blog", "blog_loop", "limit")),
        facts["unit"] + " (throttled)" * facts.get("throttled", False),
    )


def figure(value: float, quantity: str) -> str:
    """A rate, or bytes in MiB, as the table has it."""
    if quantity == "bytes":
        return f"{value / 2**20:,.0f} MiB"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
