"""``python -m bench``: measure, print the table, write the JSON beside it; and what is made of such files.

python -m bench [run]      measure the cases, or some of them
python -m bench list       name them
python -m bench compare    one result against another
python -m bench accept     keep a result as its machine's baseline
python -m bench history    draw results over time
python -m bench gate       this tree against another commit, in pairs
python -m bench precision  reduced precisions against float32
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pool3.commands.output import note, progress

QUICK = (
    "blog_loop",
    "forward/inception_v3/float32/8",
    "decode/32x32",
    "hash/32x32",
    "end_to_end",
    "limit/float32",
)
"""Whole names of the cases of a quick look."""


def main() -> int:
    """Run the subcommand that the arguments name; without one, `run`."""
    arguments = sys.argv[1:]
    if arguments and not arguments[0].startswith("-"):
        name, *arguments = arguments
    else:
        name = "run"
    if name not in _COMMANDS:
        print(f"bench: there is no command {name}; choose one of {', '.join(_COMMANDS)}", file=sys.stderr)
        return 2
    try:
        return _COMMANDS[name](arguments)
    except KeyboardInterrupt:
        note(f"{name} was interrupted; nothing of it was written")
        return 130


def run(arguments: Sequence[str]) -> int:
    """Measure."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output-dir", type=Path, default=Path("out/bench"), help="where the JSON goes")
    parser.add_argument(
        "--repeats", "--repeat", type=int, default=5, help="samples of each case (default: 5)"
    )
    parser.add_argument(
        "--case",
        action="append",
        help="only cases whose name starts so, and those they are measured beside; may be given again",
    )
    parser.add_argument("--quick", action="store_true", help="a few cases, one sample each")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")

    from bench.threads import start_with_fixed_threads

    start_with_fixed_threads()
    from bench.cases import BLOG_LOOP, chosen
    from bench.machine import fingerprint
    from bench.measure import measure
    from bench.results import SCHEMA, write
    from bench.table import table
    from pool3.devices import choose_devices
    from pool3.nvml import Watch

    placement = choose_devices("auto")
    watch = partial(Watch, placement.model, len(placement.devices)) if placement.on_gpu else None
    repeats = 1 if options.quick else options.repeats
    with tempfile.TemporaryDirectory(prefix="pool3-bench-") as scratch:
        cases = chosen(Path(scratch), options.case or ())
        if options.quick:
            cases = [case for case in cases if case.name in QUICK]
        if not cases:
            parser.error(f"no case starts with {' or '.join(options.case)}; python -m bench list names them")
        with progress("benchmarking", "samples") as report:
            results = measure(cases, repeats, report, watch)
    medians = {result.name: result.median for result in results}
    facts = [result.to_dict(medians, BLOG_LOOP) for result in results]
    print(table(facts))
    now = datetime.now(UTC)
    path = options.output_dir / f"bench-{now:%Y%m%dT%H%M%SZ}.json"
    document = {
        "schema": SCHEMA,
        "created": now.isoformat(timespec="seconds"),
        "machine": fingerprint(),
        "repeats": repeats,
        "cases": facts,
    }
    write(document, path)
    note(f"wrote {path}")
    return 0


def list_cases(arguments: Sequence[str]) -> int:
    """Name all cases, with what each measures."""
    argparse.ArgumentParser(prog="python -m bench list", description=list_cases.__doc__).parse_args(arguments)
    from pool3.runtime import start_tensorflow

    start_tensorflow()
    from bench.cases import cases

    every = cases(Path())
    width = max(len(case.name) for case in every)
    for case in every:
        limit = f"; limit: {case.limit}" if case.limit else ""
        named = "" if case.default else "; by name alone"
        print(f"{case.name:{width}}  {case.unit:7} {case.about}{limit}{named}")
    return 0


def _accept(arguments: Sequence[str]) -> int:
    from bench.results import accept

    return accept(arguments)


def _compare(arguments: Sequence[str]) -> int:
    from bench import compare

    return compare.main(arguments)


def _gate(arguments: Sequence[str]) -> int:
    from bench.gate import gate

    return gate.main(arguments)


def _history(arguments: Sequence[str]) -> int:
    from bench import history

    return history.main(arguments)


def _precision(arguments: Sequence[str]) -> int:
    from bench import precision

    return precision.main(arguments)


_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "run": run,
    "list": list_cases,
    "compare": _compare,
    "accept": _accept,
    "history": _history,
    "gate": _gate,
    "precision": _precision,
}


if __name__ == "__main__":
    sys.exit(main())
