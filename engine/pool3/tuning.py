"""Measures which batch size and how many streams are quickest here, and remembers it for ``--batch-size auto``.

No number of a feature depends on the streams, and of the batch size at most the last digits; it is recorded anyway.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pool3 import provenance
from pool3.backbones import Backbone
from pool3.devices import Placement, cores, step_threads
from pool3.errors import DeviceMemoryError, StoreError
from pool3.runtime import Runner
from pool3.spec import CPU_BATCH_SIZE, GPU_BATCH_SIZES, GPU_BYTES_PER_IMAGE
from pool3.store.disk import written_aside
from pool3.streams import STREAMS, in_streams
from pool3.weights import cache_directory, random_tensors

CPU_CANDIDATES = (1, 2, 4, 8, 16, 32)
GPU_CANDIDATES = (16, 32, 64, 128, 256, 512, 1024)

TIE = 0.98
"""Of what is within 2 % of the quickest, the smallest batch is taken: it needs less memory and the first rows come
sooner; medians of a few rounds do not tell less apart."""

_SAMPLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, order=True)
class Shape:
    """How steps are cut.

    Attributes:
        batch_size: images a replica and step.
        streams: steps at a time.
    """

    batch_size: int
    streams: int


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was measured.

    Attributes:
        best: the choice.
        rates: each shape that fits into the device's memory → images a second, one a round.
    """

    best: Shape
    rates: Mapping[Shape, Sequence[float]]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        measured = [
            asdict(shape) | {"images_per_second": [round(rate, 2) for rate in rates]}
            for shape, rates in sorted(self.rates.items())
        ]
        return asdict(self.best) | {"measured": measured}


def default_shape(placement: Placement) -> Shape:
    """The shape without a measurement: on a CPU measured once on two cores, on GPUs reckoned from their memory."""
    size = gpu_batch_size(placement.memory_bytes) if placement.on_gpu else CPU_BATCH_SIZE
    return Shape(size, STREAMS if placement.on_gpu else max(STREAMS, cores() // (step_threads() or cores())))


def stream_candidates() -> tuple[int, ...]:
    """Counts of steps at a time that are worth a try: a step a core among them."""
    return tuple(sorted({1, STREAMS, STREAMS + 1, cores()}))


def gpu_batch_size(memory_bytes: int | None) -> int:
    """Images a step on GPUs of so much memory each: a power of two, the least where the memory is not known."""
    least, most = GPU_BATCH_SIZES
    images = (memory_bytes or 0) // GPU_BYTES_PER_IMAGE
    return max(least, min(most, 1 << max(0, images.bit_length() - 1)))


def tune(
    backbone: Backbone,
    placement: Placement,
    precision: str,
    *,
    xla: bool,
    batch_sizes: Sequence[int],
    rounds: int,
    progress: Callable[[int, int], None] | None = None,
) -> Tuned:
    """Measure the network alone at each batch size and count of streams, in rounds of one sample each.

    Weights are seeded: speed does not depend on their values. A batch that does not fit into memory is left out.

    Args:
        backbone: the network.
        placement: where it runs.
        precision: dtype of the convolutions.
        xla: whether XLA compiles it.
        batch_sizes: the candidates.
        rounds: samples of each shape.
        progress: called with (samples taken, samples in all).

    Raises:
        DeviceMemoryError: not even the smallest batch fits.
    """
    tensors = random_tensors(backbone, 0)
    runners: dict[int, Runner] = {}
    for size in sorted(batch_sizes):
        runner = Runner(
            backbone,
            tensors,
            backbone.main_feature,
            placement,
            batch_size=size,
            image_shape=None,
            precision=precision,
            xla=xla,
        )
        try:
            runner.compile()
        except DeviceMemoryError:
            if not runners:
                raise
            break
        runners[size] = runner
    rates: dict[Shape, list[float]] = {Shape(size, n): [] for size in runners for n in stream_candidates()}
    counts = {shape: _steps(runners[shape.batch_size], shape) for shape in rates}
    taken = 0
    for _ in range(rounds):
        for shape in list(rates):
            try:
                rates[shape].append(_rate(runners[shape.batch_size], shape, counts[shape]))
            except DeviceMemoryError:  # so many steps at a time do not fit
                del rates[shape]
            taken += 1
            if progress is not None:
                progress(taken, rounds * len(counts))
    return Tuned(choose(rates), rates)


def choose(rates: Mapping[Shape, Sequence[float]]) -> Shape:
    """The smallest shape whose median is within `TIE` of the highest."""
    medians = {shape: statistics.median(values) for shape, values in rates.items()}
    return min(shape for shape, median in medians.items() if median >= TIE * max(medians.values()))


class _Batch(NamedTuple):
    images: Any


def _steps(runner: Runner, shape: Shape) -> int:
    """Steps that take about `_SAMPLE_SECONDS`, and at least two a stream."""
    start = time.perf_counter()
    runner.run([])
    return max(2 * shape.streams, round(_SAMPLE_SECONDS / (time.perf_counter() - start)))


def _rate(runner: Runner, shape: Shape, steps: int) -> float:
    """Images a second over all replicas."""
    images = np.zeros(runner.input_spec.shape, runner.input_spec.dtype.as_numpy_dtype)
    batches: Iterator[_Batch] = repeat(_Batch(images), steps * runner.replicas)
    start = time.perf_counter()
    with closing(in_streams(runner, batches, shape.streams)) as done:
        count = sum(1 for _ in done)
    return count * shape.batch_size / (time.perf_counter() - start)


def cache_file() -> Path:
    """Where choices are remembered; it may not exist."""
    return cache_directory() / "tuned.json"


def remembered(backbone: Backbone, placement: Placement, precision: str, *, xla: bool) -> Shape | None:
    """The choice that `remember` kept for this network on these devices, or None; a damaged file counts as none."""
    try:
        entry = json.loads(cache_file().read_text(encoding="utf-8"))[
            _key(backbone, placement, precision, xla)
        ]
        shape = Shape(int(entry["batch_size"]), int(entry["streams"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return shape if min(shape.batch_size, shape.streams) > 0 else None


def remember(backbone: Backbone, placement: Placement, precision: str, best: Shape, *, xla: bool) -> Path:
    """Keep a choice beside those of other networks and devices; return the file.

    Raises:
        StoreError: the cache folder cannot be written.
    """
    path = cache_file()
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        entries = {}
    kept = entries if isinstance(entries, dict) else {}
    kept[_key(backbone, placement, precision, xla)] = asdict(best)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(path) as file:
            file.write(json.dumps(kept, indent=1, sort_keys=True).encode())
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error.strerror}); name another folder by POOL3_CACHE"
        ) from error
    return path


def _key(backbone: Backbone, placement: Placement, precision: str, xla: bool) -> str:
    """All that the quickest shape depends on."""
    tensorflow = provenance.libraries()["tensorflow"]
    compiler = "xla" if xla else "grappler"
    machine = f"{placement.description}, {cores()} cores, {step_threads() or 'all'} threads a step"
    return f"{backbone.name}, {precision}, {machine}, {compiler}, tensorflow {tensorflow}"
