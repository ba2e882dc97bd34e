"""``python -m bench history``: throughput and fraction of the limit over results, as a PNG and an HTML page."""

from __future__ import annotations

import argparse
import io
import math
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from bench.machine import fingerprint_id, short
from bench.results import BASELINES, ResultError, read
from bench.table import figure as told
from pool3.commands.output import note
from pool3.store.disk import written_aside

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 76rem; padding: 0 1rem; }
figure { margin: 0 0 1rem; overflow-x: auto; background: #fff; border-radius: .5rem; }
figure svg { display: block; width: 100%; min-width: 44rem; height: auto; }
table { border-collapse: collapse; } .wide { overflow-x: auto; }
td, th { padding: .15rem .75rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
td:first-child, th:first-child { text-align: left; }
"""

_TICKS, _COLUMNS = 8, 6
"""Commits named below the drawing, and shown in the table."""

_Result = Mapping[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Draw what there is; 2 where there is nothing."""
    parser = argparse.ArgumentParser(prog="python -m bench history", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("out/bench"), help="folder (default: out/bench)")
    parser.add_argument("--baselines", type=Path, default=BASELINES, help="folder (default: bench/baselines)")
    parser.add_argument(
        "-o", "--output-dir", type=Path, default=Path("out/bench"), help="where both files go"
    )
    options = parser.parse_args(arguments)
    try:
        import matplotlib as _  # noqa: F401
    except ImportError as error:
        print(f"bench: history is drawn by Matplotlib ({error}): pip install 'pool3[bench]'", file=sys.stderr)
        return 2
    results = load([options.results, options.baselines])
    if not results:
        print(
            f"bench: no result in {options.results} or {options.baselines}; run python -m bench",
            file=sys.stderr,
        )
        return 2
    figures = {machine: draw(some) for machine, some in results.items()}
    options.output_dir.mkdir(parents=True, exist_ok=True)
    written = []
    for number, (machine, figure) in enumerate(figures.items()):
        name = (
            "history.png" if number == 0 else f"history-{fingerprint_id(results[machine][-1]['machine'])}.png"
        )
        with written_aside(options.output_dir / name) as file:
            figure.savefig(file, format="png", dpi=110)
        written.append(name)
    with written_aside(options.output_dir / "history.html") as file:
        file.write(page(results, {machine: _svg(figure) for machine, figure in figures.items()}).encode())
    note(f"wrote {', '.join(written)} and history.html into {options.output_dir}")
    return 0


def load(folders: Sequence[Path]) -> dict[str, list[_Result]]:
    """Results by hardware, the one with the most first, each list by date; files that are no result are named."""
    found: dict[str, dict[tuple[str, str], _Result]] = defaultdict(dict)
    for path in (path for folder in folders for path in sorted(folder.glob("*.json"))):
        if not path.name.startswith("bench-") and path.parent != folders[-1]:
            continue  # what other benches wrote
        try:
            result = read(path)
        except ResultError as error:
            note(f"left out: {error}")
            continue
        # A baseline is a copy of a result: once is enough.
        found[short(result["machine"])][result["created"], result["machine"]["pool3"]["commit"]] = result
    by_count = sorted(found.items(), key=lambda item: -len(item[1]))
    return {machine: [some[key] for key in sorted(some)] for machine, some in by_count}


def label(result: _Result) -> str:
    """A commit, with a star where the tree was dirty."""
    pool3 = result["machine"]["pool3"]
    return f"{pool3['commit'][:7] or 'unknown'}{'*' * pool3['dirty']}"


def series(results: Sequence[_Result], field: str) -> dict[str, list[float | None]]:
    """Case → its value in each result; None where it was not measured. Cases without any value are left out."""
    names = dict.fromkeys(case["name"] for result in results for case in result["cases"])
    found = {}
    for name in names:
        values = [
            next((case[field] for case in result["cases"] if case["name"] == name), None)
            for result in results
        ]
        if any(value is not None for value in values):
            found[name] = values
    return found


def draw(results: Sequence[_Result]) -> Any:
    """A figure of a row for each kind of case: medians by their first value, and fractions of the limit."""
    from matplotlib.figure import Figure

    medians, fractions = series(results, "median"), series(results, "limit_ratio")
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in medians:
        kinds[name.partition("/")[0]].append(name)
    heights = [max(1.6, 0.4 + 0.19 * len(names)) for names in kinds.values()]
    figure = Figure(figsize=(13, sum(heights) + 0.8 * len(heights)), layout="constrained")
    rows = figure.subplots(len(kinds), 2, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})
    for (left, right), names in zip(rows, kinds.values(), strict=True):
        for number, name in enumerate(names):
            first = next((value for value in medians[name] if value), None)
            changes = [None if value is None or not first else value / first for value in medians[name]]
            _line(left, changes, number, f"{_plain(name)}  {_latest(results, name)}")
            _line(right, fractions.get(name, []), number, "")
        handles, labels = left.get_legend_handles_labels()
        right.legend(
            handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.03), fontsize=8, frameon=False
        )
        right.set_yscale("log")
        if not fractions.keys() & set(names):
            right.set_axis_off()  # the legend stays
        for axes in (left, right):
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
            axes.tick_params(labelsize=8)
            axes.tick_params(axis="y", which="minor", labelsize=6)
            axes.grid(alpha=0.3)
            if axes.axison:
                axes.axhline(1, color="0.5", linewidth=0.8)
    rows[0][0].set_title("median by the first result; at the right, the latest", loc="left", fontsize=10)
    rows[0][1].set_title("fraction of the limit", loc="left", fontsize=10)
    every = max(1, math.ceil(len(results) / _TICKS))
    for axes in rows[-1]:
        places = range(0, len(results), every)
        axes.set_xticks(
            places, [f"{_plain(label(results[n]))}\n{results[n]['created'][:10]}" for n in places]
        )
        axes.tick_params(axis="x", labelsize=7)
    return figure


def _line(axes: Any, values: Sequence[float | None], number: int, text: str) -> None:
    style = ("-", "--", ":", "-.")[number // 10 % 4]
    numbers = [math.nan if value is None else value for value in values]
    axes.plot(
        range(len(numbers)), numbers, style, marker="o", markersize=3, color=f"C{number % 10}", label=text
    )


def _latest(results: Sequence[_Result], name: str) -> str:
    cases = (case for result in reversed(results) for case in result["cases"] if case["name"] == name)
    case = next(cases)
    return told(case["median"], case["quantity"])


def _plain(text: str) -> str:
    """Text as it is: Matplotlib would read dollars as mathematics, and hide a label that begins with an underscore."""
    return text.replace("$", r"\$").replace("_", "‗", 1) if text.startswith("_") else text.replace("$", r"\$")


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg")
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def page(results: Mapping[str, Sequence[_Result]], drawings: Mapping[str, str]) -> str:
    """One page without scripts and without requests: for each hardware its drawing and its last results in figures."""
    parts = []
    for machine, some in results.items():
        shown = some[-_COLUMNS:]
        head = "".join(f"<th>{escape(label(r))}<br>{escape(r['created'][:10])}</th>" for r in shown)
        rows = []
        for name, values in series(shown, "median").items():
            quantity = next(c["quantity"] for r in reversed(shown) for c in r["cases"] if c["name"] == name)
            cells = "".join(f"<td>{'–' if v is None else told(v, quantity)}</td>" for v in values)
            rows.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
        parts.append(
            f"<h2>{escape(machine)}</h2><figure>{drawings[machine]}</figure>"
            f"<div class=wide><table><tr><th>case, a second</th>{head}</tr>"
            f"{''.join(rows)}</table></div>"
        )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>pool3 bench: history</title><style>{_STYLE}</style><h1>pool3 bench: history</h1>"
        "<p>Medians drift by 10 to 20 % between runs on one machine: what to trust is the gate, which pairs. "
        "A star marks a tree with changes in no commit.</p>" + "".join(parts) + "</html>\n"
    )
