"""torch-fidelity's own Inception-v3 as its users run it: uint8 batches of 32 through its forward, resize included."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from bench.peers.contender import Contender, Features, Measure, Pixels, Setup, UnavailableError

BATCH_SIZE = 32


def contender(setup: Setup) -> Contender:
    """Load the tensors through torch-fidelity's own reader of state dicts."""
    import torch  # type: ignore[import-not-found]

    path = setup.folder / "state.pth"
    with np.load(setup.folder / "state.npz") as state:
        torch.save({name: torch.from_numpy(np.ascontiguousarray(state[name])) for name in state.files}, path)
    network = _extractor()("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))
    path.unlink()

    def tensor(pixels: Pixels) -> Any:
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))

    batch = tensor(setup.pixels(BATCH_SIZE))
    calls = setup.images // BATCH_SIZE

    def run() -> None:
        with torch.no_grad():
            for _ in range(calls):
                network(batch)

    def features(pixels: Pixels) -> Features:
        with torch.no_grad():
            found: Features = network(tensor(pixels))[0].numpy()
        return found

    return Contender(
        {"torch_fidelity/forward/float32": Measure(calls * BATCH_SIZE, run)},
        features,
        {"threads": torch.get_num_threads()},
    )


def _extractor() -> Any:
    """The class, imported past the package's own ``__init__``: that wants torchvision for what is not used here."""
    spec = find_spec("torch_fidelity")
    if spec is None:
        raise UnavailableError("torch-fidelity is not installed")
    package = ModuleType("torch_fidelity")
    package.__path__ = spec.submodule_search_locations or []
    sys.modules["torch_fidelity"] = package
    from torch_fidelity.feature_extractor_inceptionv3 import (  # type: ignore[import-not-found]
        FeatureExtractorInceptionV3,
    )

    return FeatureExtractorInceptionV3
