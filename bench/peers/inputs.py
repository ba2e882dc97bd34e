"""Writes what all contenders share: the network's tensors, once by pool3's names and once by PyTorch's, and images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.backbones import INCEPTION_V3
from pool3.weights import random_tensors
from pool3.weights.layouts import torch_layout

IMAGES = 8


def write_inputs(folder: Path) -> None:
    """Write ``tensors.npz``, ``state.npz`` and ``images.npy``, all seeded."""
    tensors = random_tensors(INCEPTION_V3, 0)
    _save(folder / "tensors.npz", tensors)
    layout = torch_layout(INCEPTION_V3, folder / "state.npz")
    state = {
        name: tensors[place.canonical].transpose(np.argsort(place.axes)) for name, place in layout.items()
    }
    _save(folder / "state.npz", state)
    # Blocks of colour of a size for each image, with noise: images must differ for wrong features to show.
    random = np.random.default_rng(0)
    images = []
    for number in range(IMAGES):
        side = 8 * (number + 1)
        blocks = random.integers(0, 256, (299 // side + 1, 299 // side + 1, 3))
        coarse = blocks.repeat(side, axis=0).repeat(side, axis=1)[:299, :299]
        images.append(np.clip(coarse + random.normal(0, 12, coarse.shape), 0, 255).astype(np.uint8))
    np.save(folder / "images.npy", np.stack(images))


def _save(path: Path, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    # NumPy's types know no more of the names than that one of them would be the flag allow_pickle.
    save: Any = np.savez
    save(path, **arrays)
