"""``python -m bench.gate.side``: one side of a pair, in a fresh process, with the engine and kernels of one tree.

The cases are always those of the tree that runs the gate: both sides do the same work. A side serves requests, see
`bench.protocol`: ``features`` writes them to a file, ``machine`` and ``versions`` answer with them, ``prepare`` answers
with the cases that cannot be run and, if asked, with what the others compute, ``sample`` with the seconds of one call.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np

Calls = dict[str, Callable[[], float | None]]
"""Of each case that can be run, what is timed; see `bench.measure.Work`."""


def main() -> int:
    """Say where the engine came from, then serve until stdin ends."""
    # Libraries print what they like to stdout: it goes to stderr, and the answers to a copy of stdout.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(reply: dict[str, Any]) -> None:
        print(json.dumps(reply), file=answers, flush=True)

    parser = argparse.ArgumentParser(prog="python -m bench.gate.side", description=__doc__)
    parser.add_argument(
        "--root", type=Path, required=True, help="the tree whose engine/ and kernels/ must be used"
    )
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the cases' files")
    arguments = parser.parse_args()
    modules = imported(arguments.root.resolve())
    from bench.measure import sample
    from bench.threads import start_with_fixed_threads

    start_with_fixed_threads()
    answer({"modules": modules})
    calls: Calls = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "features" in request:
            np.save(request["features"], features())
            answer({})
        elif "machine" in request:
            from bench.machine import fingerprint

            answer(fingerprint())
        elif "versions" in request:
            answer({found.name: found.version for found in distributions()})
        elif "prepare" in request:
            calls, errors, outputs = prepare(
                arguments.scratch, request["prepare"], compute=request["outputs"]
            )
            answer({"errors": errors, "outputs": outputs})
        else:
            answer({"seconds": sample(calls[request["sample"]])})
    return 0


def imported(root: Path) -> dict[str, str]:
    """Where the two packages were imported from.

    Raises:
        RuntimeError: one is not of the tree `root`.
    """
    import pool3
    import pool3_kernels

    found = {}
    for module, folder in ((pool3, "engine"), (pool3_kernels, "kernels")):
        path = Path(str(module.__file__)).resolve()
        if not path.is_relative_to(root / folder):
            raise RuntimeError(f"{module.__name__} was imported from {path}, not from {root / folder}")
        found[module.__name__] = str(path.relative_to(root))
    return found


def prepare(
    scratch: Path, names: Sequence[str], *, compute: bool = False
) -> tuple[Calls, dict[str, str], dict[str, Any]]:
    """Set the cases up and call each once; of those that this tree cannot run, which may be older, say why.

    Returns:
        The calls, the reasons, and, where they are to be computed, the outputs as `bench.outputs.describe` has them.
    """
    from bench.cases import cases
    from bench.measure import settle
    from bench.outputs import describe

    calls: Calls = {}
    outputs: dict[str, Any] = {}
    errors = dict.fromkeys(names, "there is no such case")
    for case in cases(scratch, names):
        if case.name not in errors:
            continue
        try:
            work = case.setup()
            work.call()
            if compute and work.output is not None:
                outputs[case.name] = describe(work.output(), work.precision)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other cases can be compared
            errors[case.name] = f"{type(error).__name__}: {error}"
            continue
        calls[case.name] = work.call
        del errors[case.name]
    settle()
    return calls, errors, outputs


def features() -> np.ndarray:
    """Of seeded JPEGs of two sizes, through the pipeline and both networks: (images, 2048 + 1280) float32."""
    from bench.cases import folder_of_jpegs
    from pool3.extractor import Extractor
    from pool3.spec import ExtractSpec

    with tempfile.TemporaryDirectory(prefix="pool3-gate-") as scratch:
        folder_of_jpegs(Path(scratch) / "a", 4, 32, 32)
        folder_of_jpegs(Path(scratch) / "b", 4, 375, 500)
        specs = [
            ExtractSpec(backbone="inception_v3", weights="random:0", precision="float32"),
            ExtractSpec(backbone="efficientnet_lite0", precision="float32"),
        ]
        return np.concatenate([Extractor(spec).embed(scratch) for spec in specs], axis=1)


if __name__ == "__main__":
    sys.exit(main())
