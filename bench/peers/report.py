"""The tables that ``make bench-peers`` prints."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from bench.peers.ratios import Ratio, percentile, ratio

Samples = Mapping[str, Sequence[float]]


def wanted(precision: str) -> list[tuple[str, str]]:
    """The ratios of interest: (name of a measure, name of what it is divided by).

    Args:
        precision: what the end to end ran in.
    """
    forward = f"ours/forward/{precision}"
    small, photos = "ours/end_to_end/32x32", "ours/end_to_end/500x375"
    return [
        ("ours/forward/bfloat16", "openvino/forward/bfloat16"),
        ("ours/forward/float32", "openvino/forward/float32"),
        ("ours/forward/float32", "onnxruntime/forward/float32"),
        ("ours/forward/bfloat16", "limit/bfloat16"),
        ("ours/forward/float32", "limit/float32"),
        (small, forward),
        (photos, forward),
        (small, "torch_fidelity/forward/float32"),
        (small, "blog_loop"),
        *(
            (f"ours/single/{p}{threads}", f"openvino/single/{p}")
            for p in ("bfloat16", "float32")
            for threads in ("", "/1 thread")
        ),
    ]


def ratios(samples: Samples, precision: str) -> dict[tuple[str, str], Ratio | None]:
    """The wanted ratios; None where a contender is missing."""
    return {
        (a, b): ratio(samples[a], samples[b]) if a in samples and b in samples else None
        for a, b in wanted(precision)
    }


def rate_table(samples: Samples, differences: Mapping[str, float]) -> str:
    """One line a measure, in images a second.

    Args:
        samples: rates by measure.
        differences: by measure, how far the features are from pool3's in float32.
    """
    rows: list[Sequence[str]] = [("images a second", "median", "p20", "p80", "difference")]
    for name, rates in samples.items():
        off = f"{differences[name]:.0e}" if name in differences else "–"
        figures = (statistics.median(rates), percentile(rates, 20), percentile(rates, 80))
        rows.append((name, *(f"{figure:.2f}" for figure in figures), off))
    return aligned(rows)


def ratio_table(found: Mapping[tuple[str, str], Ratio | None]) -> str:
    """One line a ratio."""
    rows: list[Sequence[str]] = [("ratio of medians", "", "95 % interval")]
    for (a, b), r in found.items():
        rows.append((f"{a} ÷ {b}", *((f"{r.value:.3f}", f"{r.low:.3f} – {r.high:.3f}") if r else ("–", "–"))))
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table as text: the first row is its head, the first column stands on the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)
