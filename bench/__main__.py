"""``python -m bench``: measure, print the table, write the JSON beside it. ``python -m bench precision``: see there."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench.machine import fingerprint
from bench.measure import measure
from bench.table import table
from pool3.commands.output import note, progress
from pool3.runtime import start_tensorflow

SCHEMA = 1


def main() -> int:
    """Run the cases that the arguments name."""
    if sys.argv[1:2] == ["precision"]:
        from bench import precision

        return precision.main(sys.argv[2:])
    if sys.argv[1:2] == ["gate"]:
        from bench.gate import gate

        return gate.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--output-dir", type=Path, default=Path("out/bench"), help="where the JSON goes")
    parser.add_argument("--repeats", type=int, default=5, help="samples of each case (default: 5)")
    parser.add_argument("--case", action="append", help="only cases whose name starts so; may be given again")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("--repeats must be at least 1")

    start_tensorflow()
    from bench.cases import BLOG_LOOP, cases

    with tempfile.TemporaryDirectory(prefix="pool3-bench-") as scratch:
        chosen = cases(Path(scratch), arguments.case or [])
        if not chosen:
            parser.error(f"no case starts with {' or '.join(arguments.case)}")
        with progress("benchmarking", "samples") as report:
            results = measure(chosen, arguments.repeats, report)
    medians = {result.name: result.median for result in results}
    facts = [result.to_dict(medians, BLOG_LOOP) for result in results]
    print(table(facts))
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    path = arguments.output_dir / f"bench-{now:%Y%m%dT%H%M%SZ}.json"
    document = {
        "schema": SCHEMA,
        "created": now.isoformat(timespec="seconds"),
        "machine": fingerprint(),
        "repeats": arguments.repeats,
        "cases": facts,
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    note(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
