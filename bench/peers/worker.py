"""A worker process: ``python -m bench.peers.worker MODULE FUNCTION FOLDER JSON``. Needs NumPy alone.

Makes ``bench.peers.MODULE.FUNCTION(Setup(FOLDER, …), **settings)`` and serves it, see `bench.protocol`.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers.contender import Contender, Setup, UnavailableError

VERSIONS = ("numpy", "onnx", "onnxruntime", "openvino", "tensorflow", "torch", "torch-fidelity")


def main(arguments: list[str]) -> int:
    """Serve until stdin ends."""
    # Libraries print what they like to stdout, from C++ too: it goes to stderr, and the answers to a copy of stdout.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(reply: dict[str, Any]) -> None:
        print(json.dumps(reply), file=answers, flush=True)

    module, function, folder, settings = arguments
    options = json.loads(settings)
    setup = Setup(Path(folder), options.pop("quick"))
    try:
        contender: Contender = getattr(import_module(f"bench.peers.{module}"), function)(setup, **options)
        for measure in contender.measures.values():
            measure.call()
    except (UnavailableError, ImportError) as error:
        answer({"unavailable": str(error)})
        return 0
    found = {d.name.lower().replace("_", "-"): d.version for d in distributions()}
    answer({
        "ready": {
            "measures": list(contender.measures),
            "features": contender.features is not None,
            "facts": contender.facts,
            "versions": {name: found[name] for name in VERSIONS if name in found},
        }
    })  # fmt: skip
    for line in sys.stdin:
        answer(_serve(contender, setup, json.loads(line)))
    return 0


def _serve(contender: Contender, setup: Setup, request: dict[str, str]) -> dict[str, Any]:
    if "features" in request:
        assert contender.features is not None
        np.save(request["features"], contender.features(np.load(setup.folder / "images.npy")))
        return {}
    gc.collect()
    gc.disable()
    try:
        return {"rate": contender.measures[request["sample"]].sample()}
    finally:
        gc.enable()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
