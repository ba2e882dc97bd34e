"""Memory does not grow with the count of images: pipeline and store, ten times as many, within 10 %."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource, sys
import numpy as np
import tensorflow as tf
from pool3.backbones import INCEPTION_V3
from pool3.pipeline import Pipeline
from pool3.sources import NO_LABEL, Source
from pool3.store import FeatureWriter, Rows
from bench.cases import provenance

count, output = int(sys.argv[1]), sys.argv[2]
tf.config.threading.set_intra_op_parallelism_threads(2)
jpeg = tf.io.encode_jpeg(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).numpy()

class Many(Source):
    description = "many"
    ids = [f"{i:08}.jpg" for i in range(count)]
    labels = np.full(count, NO_LABEL, np.int32)
    label_names = ()
    image_shape = None
    def read(self, start, stop):
        return (jpeg for _ in range(start, stop))

source = Many()
pipeline = Pipeline(source, INCEPTION_V3.preprocessing, 32, "host")
with FeatureWriter.open(output, provenance(), inputs=count, width=2048, label_names=(), rows_per_shard=1024) as writer:
    ranges = writer.pending()
    batches = pipeline.batches(ranges)
    for start, stop in ranges:
        digests = []
        while sum(map(len, digests)) < stop - start:
            batch = next(batches)
            digests.append(batch.content_sha256[batch.valid])
        index = np.arange(start, stop)
        writer.commit(Rows(start=start, stop=stop, source_index=index, ids=source.ids[start:stop],
                           labels=source.labels[start:stop], content_sha256=np.concatenate(digests),
                           features=np.zeros((stop - start, 2048), np.float32), failures=()))
    writer.seal()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_peak_memory_is_flat(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]

    def peak(count: int) -> int:
        command = [sys.executable, "-c", PROGRAM, str(count), str(tmp_path / f"{count}.h5")]
        done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
        return int(done.stdout)

    assert peak(20_000) < 1.1 * peak(2_000)
