"""The table that ``make bench`` prints."""

from __future__ import annotations

from collections.abc import Sequence

from bench.measure import Result


def table(results: Sequence[Result], blog_loop: float | None) -> str:
    """Lay out the results, one case a line: median rate, 20th and 80th percentile, and the two ratios."""
    rows = [("case", "per second", "p20", "p80", "× 33.3 img/s", "× blog_loop", "unit")]
    for result in results:
        facts = result.to_dict(blog_loop)
        rows.append(
            (
                result.name,
                _rate(result.median),
                _rate(result.percentile(20)),
                _rate(result.percentile(80)),
                _ratio(facts["blog_ratio"]),
                _ratio(facts["blog_loop_ratio"]),
                result.unit,
            )
        )
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
    return "\n".join(lines)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
