"""``python -m bench.gate.side``: one side of a pair, in a fresh process, with the engine and kernels of one tree.

The cases are always those of the tree that runs the gate: both sides do the same work.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 3
"""Of each case in a process, after one call to warm up; their median stands for it in the pair."""


def main() -> int:
    """Print one JSON object: where the engine came from, seconds by case, and why others could not be run."""
    parser = argparse.ArgumentParser(prog="python -m bench.gate.side", description=__doc__)
    parser.add_argument(
        "--root", type=Path, required=True, help="the tree whose engine/ and kernels/ must be used"
    )
    parser.add_argument("--case", action="append", default=[], help="a case's whole name; may be given again")
    parser.add_argument("--features", type=Path, help="write the features of seeded images there, as .npy")
    arguments = parser.parse_args()
    modules = imported(arguments.root.resolve())
    from pool3.runtime import start_tensorflow

    start_tensorflow()
    found: dict[str, Any] = {"modules": modules}
    if arguments.features:
        np.save(arguments.features, features())
    with tempfile.TemporaryDirectory(prefix="pool3-gate-") as scratch:
        found["seconds"], found["errors"] = seconds(Path(scratch), arguments.case)
    print(json.dumps(found))
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


def seconds(scratch: Path, names: Sequence[str]) -> tuple[dict[str, float], dict[str, str]]:
    """Median of `SAMPLES` of each case; and of those that this tree cannot run, which may be older, the reason."""
    from bench.cases import cases
    from bench.measure import sample

    found: dict[str, float] = {}
    errors = dict.fromkeys(names, "there is no such case")
    for case in cases(scratch, names):
        if case.name not in errors:
            continue
        try:
            call = case.setup().call
            call()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other cases can be compared
            errors[case.name] = f"{type(error).__name__}: {error}"
            continue
        found[case.name] = statistics.median(sample(call) for _ in range(SAMPLES))
        del errors[case.name]
    return found, errors


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
