"""Memory does not grow with the count of images: in the pipeline with the store, and in the seal alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.peak import needs_linux

PROGRAM = """
import sys
import numpy as np
import tensorflow as tf
from pool3.backbones import INCEPTION_V3
from pool3.pipeline import Pipeline
from pool3.sources import NO_LABEL, Source
from pool3.store import FeatureWriter, Rows
from bench.cases import provenance
from tests.peak import peak_bytes

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
print(peak_bytes())
"""

SEAL = """
import sys
import numpy as np
from pool3.store import FeatureWriter, Rows
from tests.peak import peak_bytes
from tests.store.examples import begin

count, width = int(sys.argv[1]), 512
with begin(sys.argv[2], inputs=count, width=width, step=1000, label_names=()) as writer:
    for start, stop in writer.pending():
        index = np.arange(start, stop)
        writer.commit(Rows(start=start, stop=stop, source_index=index, ids=[f"{i:08}.jpg" for i in index],
                           labels=np.full(1000, -1, np.int32), content_sha256=np.zeros((1000, 32), np.uint8),
                           features=np.full((1000, width), start, np.float32), failures=()))
    writer.seal()
print(peak_bytes())
"""


def peak(program: str, count: int, output: Path) -> int:
    """Peak of resident memory of a program in a process of its own, bytes."""
    command = [sys.executable, "-c", program, str(count), str(output)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=True)
    return int(done.stdout)


@needs_linux
@pytest.mark.slow
def test_sealing_100_000_rows_takes_no_more_memory_than_5_000(tmp_path: Path) -> None:
    """205 MB of features against 10 MB of them; HDF5 keeps up to 32 MiB of its own structures in memory."""
    assert peak(SEAL, 100_000, tmp_path / "many.h5") - peak(SEAL, 5_000, tmp_path / "few.h5") < 32 << 20


@needs_linux
@pytest.mark.slow
def test_peak_memory_is_flat(tmp_path: Path) -> None:
    assert peak(PROGRAM, 20_000, tmp_path / "many.h5") < 1.1 * peak(PROGRAM, 2_000, tmp_path / "few.h5")
