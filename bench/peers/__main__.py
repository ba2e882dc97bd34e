"""``python -m bench.peers``: pool3 and what a user would run instead, measured in turn on this machine's CPU."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.machine import fingerprint
from bench.peers.coordinator import BOUNDS, REFERENCE, Entry, entries, measure, start
from bench.peers.environment import prepare
from bench.peers.inputs import write_inputs
from bench.peers.report import rate_table, ratio_table, ratios
from bench.protocol import Worker
from pool3.commands.output import note, progress
from pool3.runtime import start_tensorflow

SCHEMA = 1


def main() -> int:
    """Make the peers' environment, measure, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--output-dir", type=Path, default=Path("out/bench"), help="where the JSON goes")
    parser.add_argument("--environment", type=Path, default=Path("out/peers-venv"), help="the peers' own")
    parser.add_argument("--rounds", type=int, default=7, help="samples of each measure (default: 7)")
    parser.add_argument(
        "--quick", action="store_true", help="fewer images a sample: for a look, not for figures"
    )
    parser.add_argument(
        "--only", action="append", help="only contenders whose name starts so; may be given again"
    )
    parser.add_argument(
        "--precision", default="auto", help="of the end to end (default: auto, as pool3 chooses)"
    )
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    prefixes = (*arguments.only, REFERENCE) if arguments.only else ("",)
    chosen = [entry for entry in entries(arguments.precision) if entry.name.startswith(prefixes)]
    peers = prepare(arguments.environment) if any(entry.peer for entry in chosen) else Path()

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    with (
        tempfile.TemporaryDirectory(prefix="pool3-peers-") as scratch,
        progress("benchmarking", "samples") as report,
    ):
        folder = Path(scratch)
        write_inputs(folder)

        def workers() -> Iterator[tuple[Entry, Worker]]:
            for entry in chosen:
                python = peers if entry.peer else Path(sys.executable)
                yield entry, start(entry, python, folder, quick=arguments.quick)

        outcome = measure(workers(), folder, arguments.rounds, report, len(chosen))
    ran_in = outcome.facts.get("end_to_end", {}).get("facts", {}).get("precision", "float32")
    found = ratios(outcome.samples, ran_in)
    print(rate_table(outcome.samples, outcome.differences))
    print(f"\n{ratio_table(found)}")
    for name, reason in outcome.left_out.items():
        print(f"\nleft out: {name}: {reason}")

    start_tensorflow()
    now = datetime.now(UTC)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    path = arguments.output_dir / f"peers-{now:%Y%m%dT%H%M%SZ}.json"
    document = {
        "schema": SCHEMA,
        "created": now.isoformat(timespec="seconds"),
        "machine": fingerprint(),
        "load_before": load,
        "rounds": arguments.rounds,
        "quick": arguments.quick,
        "bounds": BOUNDS,
        "contenders": outcome.facts,
        "left_out": outcome.left_out,
        "samples_per_second": {k: [round(rate, 4) for rate in v] for k, v in outcome.samples.items()},
        "ratios": [{"of": a, "by": b} | (asdict(r) if r else {}) for (a, b), r in found.items()],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    note(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
