"""ONNX Runtime: float32, batches of 32, its defaults otherwise."""

from __future__ import annotations

import numpy as np
import onnxruntime  # type: ignore[import-not-found]
from numpy.typing import NDArray

from bench.peers.contender import Contender, Features, Measure, Pixels, Setup
from bench.peers.onnx_network import INPUT, build

BATCH_SIZE = 32


def contender(setup: Setup) -> Contender:
    """Open a session on the exported network."""
    session = onnxruntime.InferenceSession(
        build(setup.tensors(), BATCH_SIZE), providers=["CPUExecutionProvider"]
    )
    batch = _batch(setup.pixels(BATCH_SIZE))
    calls = setup.images // BATCH_SIZE

    def run() -> None:
        for _ in range(calls):
            session.run(None, {INPUT: batch})

    def features(pixels: Pixels) -> Features:
        full = np.resize(pixels, (BATCH_SIZE, *pixels.shape[1:]))
        found: Features = session.run(None, {INPUT: _batch(full)})[0]
        return found[: len(pixels)]

    return Contender({"onnxruntime/forward/float32": Measure(calls * BATCH_SIZE, run)}, features)


def _batch(pixels: Pixels) -> NDArray[np.float32]:
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
