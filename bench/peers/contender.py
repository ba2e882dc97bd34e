"""What a worker process serves: something that runs the network, its timed measures, and what it needs to begin."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(N, 299, 299, 3), so that no one's resizing is compared."""

Features = NDArray[np.float32]
"""(N, 2048)."""

SINGLE_IMAGES = 16
"""Images a sample, one at a time."""


class UnavailableError(Exception):
    """A contender cannot run here; the message is the reason, in a clause."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What every contender gets.

    Attributes:
        folder: holds what `bench.peers.inputs` wrote, and whatever the contender writes.
        quick: take small samples.
    """

    folder: Path
    quick: bool

    @property
    def images(self) -> int:
        """Images a sample of a network alone, at least."""
        return 32 if self.quick else 64

    @property
    def trials(self) -> int:
        """Samples of each setting before the best is kept."""
        return 1 if self.quick else 3

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The network's canonical tensors."""
        with np.load(self.folder / "tensors.npz") as file:
            return dict(file)

    def pixels(self, count: int) -> Pixels:
        """The seeded images, repeated until there are `count`."""
        images: Pixels = np.load(self.folder / "images.npy")
        return np.resize(images, (count, *images.shape[1:]))


@dataclass(frozen=True, slots=True)
class Measure:
    """Something to time.

    Attributes:
        count: images that one call works through.
        call: does the work; returns seconds where it times itself, else None.
    """

    count: float
    call: Callable[[], float | None]

    def sample(self) -> float:
        """Images a second, once."""
        start = time.perf_counter()
        own = self.call()
        return self.count / (time.perf_counter() - start if own is None else own)


@dataclass(frozen=True, slots=True)
class Contender:
    """Prepared and warmed up.

    Attributes:
        measures: by name, as in the table.
        features: computes features as the measures do, to be compared with pool3's; None where there are none.
        facts: settings that were chosen, for the JSON.
    """

    measures: Mapping[str, Measure]
    features: Callable[[Pixels], Features] | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def quickest(candidates: Mapping[str, Measure], trials: int) -> tuple[str, dict[str, float]]:
    """Find the candidate of the highest median rate; trials are interleaved, after one call of each to warm up.

    Returns:
        Its name, and all medians.
    """
    for measure in candidates.values():
        measure.call()
    rates: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(trials):
        for name, measure in candidates.items():
            rates[name].append(measure.sample())
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return max(medians, key=medians.__getitem__), {name: round(rate, 3) for name, rate in medians.items()}
