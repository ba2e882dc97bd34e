"""The feature store: committed shards, the seal, and the same bytes by plain writes."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.measure import Work
from pool3.spec import SHARD_ROWS
from pool3.store import FeatureWriter, Provenance, Rows, open_features


def _rows(shard: int) -> Rows:
    features = np.random.default_rng(shard).standard_normal((SHARD_ROWS, 2048), np.float32)
    start = shard * SHARD_ROWS
    index = np.arange(start, start + SHARD_ROWS)
    return Rows(
        start=start,
        stop=start + SHARD_ROWS,
        source_index=index,
        ids=[f"class/{i:08}.jpg" for i in index],
        labels=np.zeros(SHARD_ROWS, np.int32),
        content_sha256=np.zeros((SHARD_ROWS, 32), np.uint8),
        features=features,
        failures=(),
    )


def provenance() -> Provenance:
    """Of a file whose features mean nothing: what the store needs to begin one."""
    return Provenance(
        pool3_version="bench", pool3_commit="", backbone="inception_v3", feature="pool_3", feature_shape=(2048,),
        weights="random:0", weights_sha256="", tensor_digest="", preprocessing="", decoder="", precision="float32",
        precision_reason="", precision_cosine=1.0,
        storage="float32", batch_size=32, route="host", threads=0, device="", compiler="", tf32=False, libraries={},
        source="", source_manifest_sha256="", created="",
    )  # fmt: skip


def _settle(folder: Path) -> None:
    """Empty a folder and let the disk come to rest, so that a sample pays for its own writes alone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.sync()


def _writer(folder: Path, shards: int) -> FeatureWriter:
    return FeatureWriter.open(
        folder / "out.h5",
        provenance(),
        inputs=shards * SHARD_ROWS,
        width=2048,
        label_names=("class",),
        rows_per_shard=SHARD_ROWS,
    )


def sink(folder: Path, shards: int) -> Work:
    """Committed shards, durable one by one; the seal is left out."""
    blocks = [_rows(shard) for shard in range(shards)]

    def call() -> float:
        _settle(folder)
        with _writer(folder, shards) as writer:
            start = time.perf_counter()
            for block in blocks:
                writer.commit(block)
            return time.perf_counter() - start

    return Work(call)


def seal(folder: Path, shards: int) -> Work:
    """Shards into one HDF5 file with checksums and digests, durable."""
    blocks = [_rows(shard) for shard in range(shards)]

    def call() -> float:
        _settle(folder)
        with _writer(folder, shards) as writer:
            for block in blocks:
                writer.commit(block)
            os.sync()
            start = time.perf_counter()
            writer.seal()
            return time.perf_counter() - start

    def output() -> NDArray[np.float32]:
        with open_features(folder / "out.h5") as file:
            return np.asarray(file.features[:])

    return Work(call, output)


def plain_write(folder: Path, shards: int) -> Work:
    """The limit of the sink: the same bytes by plain sequential writes and one fsync."""
    blocks: list[NDArray[np.float32]] = [_rows(shard).features for shard in range(shards)]

    def call() -> float:
        path = folder / "plain"
        _settle(folder)
        start = time.perf_counter()
        with path.open("wb", buffering=0) as file:
            for block in blocks:
                file.write(block.data.cast("B"))
            os.fsync(file.fileno())
        return time.perf_counter() - start

    return Work(call)
