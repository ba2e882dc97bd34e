"""``python -m bench.gpu``: one or more GPUs beside their own limit, by count of devices, precision and batch size.

Runs on logical CPU devices too (``--devices cpu:0,1``), where it shows that it works and its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.machine import fingerprint
from bench.peers.limit import OPERATIONS
from bench.peers.ratios import percentile
from bench.peers.report import aligned
from pool3.backbones import INCEPTION_V3
from pool3.commands.output import note, progress
from pool3.devices import Placement, choose_devices
from pool3.errors import DeviceMemoryError
from pool3.extractor import Extractor
from pool3.nvml import Usage, Watch
from pool3.pipeline import Pipeline
from pool3.runtime import Runner, start_tensorflow
from pool3.sources import open_source
from pool3.spec import ExtractSpec
from pool3.streams import in_streams
from pool3.telemetry import BLOG_IMAGES_PER_SECOND
from pool3.tuning import default_shape
from pool3.weights import random_tensors

SCHEMA = 1
BATCHES = (1, 4, 16, 64, 256, 1024)
PRECISIONS = ("float16", "bfloat16", "float32")

_SAMPLE_SECONDS = 2.0
_MATRIX = {True: 8192, False: 1024}
"""Side of the matrices whose product is the limit, on a GPU and on a CPU."""


@dataclass(slots=True)
class Row:
    """What is measured, and its samples.

    Attributes:
        name: ``limit``, ``forward``, ``decode/…`` or ``end_to_end/…``.
        devices: count of them.
        precision: dtype of the convolutions.
        batch_size: images a replica and step; None where that means nothing.
        call: does the work once; returns images and seconds.
        compile_seconds: the first, untimed call.
        rates: images a second.
        usages: of the GPUs, one a sample.
    """

    name: str
    devices: int
    precision: str
    batch_size: int | None
    call: Callable[[], tuple[float, float]]
    compile_seconds: float = 0.0
    rates: list[float] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)


class _Batch(NamedTuple):
    images: Any


def main() -> int:
    """Measure, print the table, write the JSON."""
    arguments = _arguments()
    start_tensorflow()
    every = choose_devices(arguments.devices)
    if not every.on_gpu:
        note(f"no GPU: {every.description} only shows that this works")
    with (
        tempfile.TemporaryDirectory(prefix="pool3-gpu-") as scratch,
        progress("benchmarking", "samples") as report,
    ):
        rows = list(_rows(every, arguments, Path(scratch)))
        total = len(rows) * arguments.rounds
        # In rounds, so that drift hits all alike.
        for number in range(arguments.rounds):
            for place, row in enumerate(rows):
                _sample(row, every)
                report(number * len(rows) + place + 1, total, row.name)
        if arguments.profile:
            _profile(rows, arguments.profile)
    print(table(rows))
    now = datetime.now(UTC)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    path = arguments.output_dir / f"gpu-{now:%Y%m%dT%H%M%SZ}.json"
    document = {
        "schema": SCHEMA,
        "created": now.isoformat(timespec="seconds"),
        "machine": fingerprint() | {"device": every.description},
        "rounds": arguments.rounds,
        "rows": [to_dict(row) for row in rows],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    note(f"wrote {path}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--output-dir", type=Path, default=Path("out/bench"), help="where the JSON goes")
    parser.add_argument("--devices", default="gpu", help="as for pool3 extract (default: gpu, all of them)")
    parser.add_argument("--counts", type=_numbers, help="of devices (default: 1, 2, 4 … as there are)")
    parser.add_argument("--batches", type=_numbers, default=BATCHES, help="images a replica and step")
    parser.add_argument("--precisions", type=lambda text: text.split(","), default=PRECISIONS)
    parser.add_argument("--rounds", type=int, default=5, help="samples of each row (default: 5)")
    parser.add_argument("--images", type=int, default=50_000, help="of 32×32, end to end (default: 50,000)")
    parser.add_argument("--photos", type=int, default=4_000, help="of 500×375, end to end (default: 4,000)")
    parser.add_argument("--profile", type=Path, help="write TensorFlow's profile of one forward sample there")
    arguments = parser.parse_args()
    if min(arguments.rounds, arguments.images, arguments.photos, *arguments.batches) < 1:
        parser.error("--rounds, --images, --photos and --batches must be at least 1")
    return arguments


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _rows(every: Placement, arguments: argparse.Namespace, scratch: Path) -> Iterator[Row]:
    """Prepare and warm up every row; batches that do not fit into memory are left out with a note."""
    from bench.cases import folder_of_jpegs  # not before TensorFlow was started, quietly

    pixels = np.random.default_rng(0).integers(0, 256, (arguments.images, 32, 32, 3), dtype=np.uint8)
    photos = folder_of_jpegs(scratch / "photos", arguments.photos, 375, 500)
    yield _warm(Row("decode/500x375", 0, "", None, lambda: _decode(photos, arguments.photos)))
    for count in arguments.counts or sorted({1 << n for n in range(len(every.devices).bit_length())}):
        placement = replace(every, devices=every.devices[:count])
        for precision in arguments.precisions:
            yield _warm(Row("limit", count, precision, None, _products(placement, precision)))
            for batch_size in arguments.batches:
                row = Row("forward", count, precision, batch_size, _forward(placement, precision, batch_size))
                try:
                    yield _warm(row)
                except DeviceMemoryError:
                    note(f"{precision}, batch {batch_size}: does not fit into memory")
                    break
        kind = placement.devices[0].strip("/").partition(":")[0].lower()
        listed = ",".join(device.rpartition(":")[2] for device in placement.devices)
        precision = arguments.precisions[0]
        spec = ExtractSpec(weights="random:0", precision=precision, devices=f"{kind}:{listed}")
        extractor = Extractor(spec)
        for name, images in (("32x32", pixels), ("500x375", photos)):
            call = _end_to_end(extractor, images, scratch / "out.h5")
            yield _warm(Row(f"end_to_end/{name}", count, precision, None, call))


def _warm(row: Row) -> Row:
    start = time.perf_counter()
    row.call()
    row.compile_seconds = time.perf_counter() - start
    return row


def _sample(row: Row, every: Placement) -> None:
    with Watch(every.model, max(1, row.devices)) as watch:
        images, seconds = row.call()
    row.rates.append(images / seconds)
    if watch.usage is not None and every.on_gpu:
        row.usages.append(replace(watch.usage, joules=watch.usage.joules / images))


def _forward(placement: Placement, precision: str, batch_size: int) -> Callable[[], tuple[float, float]]:
    """The network with the resize before it, from 32×32 pixels: what is copied to the devices is small."""
    runner: Runner | None = None
    steps, streams = 1, default_shape(placement).streams

    def call() -> tuple[float, float]:
        nonlocal runner, steps
        if runner is None:
            runner = Runner(
                INCEPTION_V3,
                random_tensors(INCEPTION_V3, 0),
                INCEPTION_V3.main_feature,
                placement,
                batch_size=batch_size,
                image_shape=(32, 32),
                precision=precision,
                xla=placement.on_gpu,
            )
            runner.compile()
            start = time.perf_counter()
            runner.run([])
            steps = max(2 * streams, round(_SAMPLE_SECONDS / (time.perf_counter() - start)))
        batch = _Batch(np.zeros(runner.input_spec.shape, np.uint8))
        start = time.perf_counter()
        with closing(in_streams(runner, repeat(batch, steps * runner.replicas), streams)) as done:
            count = sum(1 for _ in done)
        return count * batch_size, time.perf_counter() - start

    return call


def _products(placement: Placement, precision: str) -> Callable[[], tuple[float, float]]:
    """The devices' own limit: square matrix products in the same precision, told in images of the network."""
    import tensorflow as tf

    side = _MATRIX[placement.on_gpu]
    pairs = []
    for device in placement.devices:
        with tf.device(device):
            pairs.append(
                [tf.cast(tf.random.stateless_normal((side, side), (n, 0)), precision) for n in (0, 1)]
            )
    repeats = 64 if placement.on_gpu else 2

    def products() -> Any:
        results = []
        for device, (a, b) in zip(placement.devices, pairs, strict=True):
            with tf.device(device):
                for _ in range(repeats):
                    a = tf.linalg.matmul(a, b)
                results.append(tf.reduce_max(a))
        return results

    multiply = tf.function(products)

    def call() -> tuple[float, float]:
        start = time.perf_counter()
        for result in multiply():
            result.numpy()  # waits for the device
        seconds = time.perf_counter() - start
        return 2.0 * side**3 * repeats * len(pairs) / OPERATIONS, seconds

    return call


def _decode(photos: Path, count: int) -> tuple[float, float]:
    """The limit of the end to end on the host's side: read, hash, decode and resize."""
    source = open_source(photos)
    workers = ExtractSpec().decoders
    start = time.perf_counter()
    pipeline = Pipeline(source, INCEPTION_V3.preprocessing, 64, "host", workers)
    covered = sum(batch.count for batch in pipeline.batches([(0, count)]))
    if covered != count:
        raise AssertionError(f"decoded {covered} of {count} images")
    return count, time.perf_counter() - start


def _end_to_end(extractor: Extractor, images: Any, output: Path) -> Callable[[], tuple[float, float]]:
    """Images to a sealed feature file; start-up, compilation and the check of the precision left out."""

    def call() -> tuple[float, float]:
        result = extractor.extract(images, output, overwrite=True)
        if result.rows != result.inputs:
            raise AssertionError(f"{result.rows} rows from {result.inputs} images")
        once = result.stages.get("compile", 0.0) + result.stages.get("precision", 0.0)
        return result.rows, result.seconds - once

    return call


def _profile(rows: Sequence[Row], folder: Path) -> None:
    """Write the profile of the quickest forward row: open it with TensorBoard, or read its kernel times."""
    import tensorflow as tf

    best = max((row for row in rows if row.name == "forward"), key=lambda row: statistics.median(row.rates))
    with _profiling(tf, folder):
        best.call()
    note(f"profiled {best.precision}, batch {best.batch_size}: {folder}")


@contextmanager
def _profiling(tf: Any, folder: Path) -> Iterator[None]:
    tf.profiler.experimental.start(str(folder))
    try:
        yield
    finally:
        tf.profiler.experimental.stop()


def to_dict(row: Row) -> dict[str, Any]:
    """JSON-able form."""
    return {
        "name": row.name,
        "devices": row.devices,
        "precision": row.precision,
        "batch_size": row.batch_size,
        "first_seconds": round(row.compile_seconds, 3),
        "samples_per_second": [round(rate, 3) for rate in row.rates],
        "usages": [asdict(usage) for usage in row.usages],
    }


def table(rows: Sequence[Row]) -> str:
    """One line a row; the columns of NVML only where there is a GPU."""
    limits = {
        (row.devices, row.precision): statistics.median(row.rates) for row in rows if row.name == "limit"
    }
    watched = any(row.usages for row in rows)
    head = ["what", "devices", "precision", "batch", "images/s", "p20", "p80", "× 33.3", "of limit"]
    lines: list[Sequence[str]] = [head + (["busy", "GiB", "W", "images/J", ""] if watched else [])]
    for row in rows:
        median = statistics.median(row.rates)
        limit = limits.get((row.devices, row.precision))
        cells = [
            row.name,
            str(row.devices or "–"),
            row.precision or "–",
            str(row.batch_size or "–"),
            *(f"{figure:,.1f}" for figure in (median, percentile(row.rates, 20), percentile(row.rates, 80))),
            f"{median / BLOG_IMAGES_PER_SECOND:,.1f}",
            f"{median / limit:.2f}" if limit else "–",
        ]
        lines.append(cells + (_usage(row.usages) if watched else []))
    return aligned(lines)


def _usage(usages: Sequence[Usage]) -> list[str]:
    if not usages:
        return ["–"] * 4 + [""]
    each = statistics.median(usage.joules for usage in usages)
    return [
        f"{statistics.median(usage.utilisation for usage in usages):.0%}",
        f"{max(usage.memory_bytes for usage in usages) / 2**30:.1f}",
        f"{statistics.median(usage.watts for usage in usages):.0f}",
        f"{1 / each:.1f}" if each else "–",
        "throttled" if any(usage.throttled for usage in usages) else "",
    ]


if __name__ == "__main__":
    sys.exit(main())
