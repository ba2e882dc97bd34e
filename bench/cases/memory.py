"""``python -m bench.cases.memory COUNT OUT``: images through the pipeline and the store; prints the peak in bytes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from bench.cases.store import provenance
from pool3.backbones import INCEPTION_V3
from pool3.pipeline import Pipeline
from pool3.sources import NO_LABEL, Content, Source
from pool3.store import FeatureWriter, Rows


class Many(Source):
    """One JPEG under many names."""

    def __init__(self, count: int) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        self._jpeg: bytes = tf.io.encode_jpeg(pixels).numpy()
        self.description = "many"
        self.ids = [f"{i:08}.jpg" for i in range(count)]
        self.labels = np.full(count, NO_LABEL, np.int32)
        self.label_names = ()
        self.image_shape = None

    def read(self, start: int, stop: int) -> Iterator[Content]:
        """The JPEG, again and again."""
        return (self._jpeg for _ in range(start, stop))


def run(count: int, output: Path) -> None:
    """Decode all images, and write a row of zeros for each."""
    source = Many(count)
    pipeline = Pipeline(source, INCEPTION_V3.preprocessing, 32, "host")
    with FeatureWriter.open(
        output, provenance(), inputs=count, width=2048, label_names=(), rows_per_shard=1024
    ) as writer:
        ranges = writer.pending()
        batches = pipeline.batches(ranges)
        for start, stop in ranges:
            digests: list[np.ndarray] = []
            while sum(map(len, digests)) < stop - start:
                batch = next(batches)
                digests.append(batch.content_sha256[batch.valid])
            rows = Rows(
                start=start,
                stop=stop,
                source_index=np.arange(start, stop),
                ids=source.ids[start:stop],
                labels=source.labels[start:stop],
                content_sha256=np.concatenate(digests),
                features=np.zeros((stop - start, 2048), np.float32),
                failures=(),
            )
            writer.commit(rows)
        writer.seal()


def peak_bytes() -> int:
    """Peak of resident memory since this program began, as Linux counts it.

    Raises:
        RuntimeError: this is no Linux.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    if found is None:
        raise RuntimeError("the peak of memory is asked of Linux, and this is another system")
    return int(found[1]) << 10


if __name__ == "__main__":
    run(int(sys.argv[1]), Path(sys.argv[2]))
    print(peak_bytes())
