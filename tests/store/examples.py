"""Rows and provenance that the tests of the store and of the classifier share."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from pool3.store import Failure, FeatureWriter, Provenance, Rows

WIDTH = 5
INPUTS = 23
NAMES = ("cat", "dög", "[bold]")

PROVENANCE = Provenance(
    pool3_version="0.1",
    pool3_commit="abc",
    backbone="inception_v3",
    feature="pool_3",
    feature_shape=(1, 5),
    weights="random:0",
    weights_sha256="11" * 32,
    tensor_digest="22" * 32,
    preprocessing="legacy bilinear to 299×299",
    decoder="tf.io.decode_image",
    precision="float32",
    precision_reason="asked for",
    precision_cosine=1.0,
    storage="float32",
    batch_size=4,
    route="host",
    threads=2,
    device="CPU",
    compiler="grappler",
    tf32=False,
    libraries={"numpy": "2.0", "tensorflow": "2.21"},
    source="images",
    source_manifest_sha256="33" * 32,
    created="2026-01-01T00:00:00+00:00",
)


def id_of(index: int) -> str:
    """An ordinary name, or a strange one."""
    strange = {1: "naïve/日本.png", 2: "esc\\x0a\\\\.jpg", 3: "line\nbreak\t.png", 4: "", 5: "😀" * 300}
    return strange.get(index, f"a/{index:04}.jpg")


def make_rows(
    start: int,
    stop: int,
    *,
    width: int = WIDTH,
    failed: Collection[int] = (),
    classes: int = len(NAMES),
    storage: str = "float32",
) -> Rows:
    """Rows whose every value follows from their index."""
    index = np.asarray([i for i in range(start, stop) if i not in failed], np.int64)
    return Rows(
        start=start,
        stop=stop,
        source_index=index,
        ids=[id_of(i) for i in index],
        labels=(index % (classes + 1) - 1).astype(np.int32),
        content_sha256=np.repeat((index % 251).astype(np.uint8)[:, None], 32, axis=1),
        features=(index[:, None] * 1000 + np.arange(width)).astype(storage),
        failures=[
            Failure(i, id_of(i), "decode", "InvalidArgumentError", f"bad « {i} »\n")
            for i in range(start, stop)
            if i in failed
        ],
    )


def begin(
    path: Path, *, step: int = 7, inputs: int = INPUTS, width: int = WIDTH, **changes: object
) -> FeatureWriter:
    """Open a writer; `changes` go to `FeatureWriter.open` or into the provenance, by their names."""
    arguments = {
        name: changes.pop(name) for name in ("label_names", "overwrite", "retry_failed") if name in changes
    }
    return FeatureWriter.open(
        path,
        replace(PROVENANCE, **changes),
        **({"inputs": inputs, "width": width, "label_names": NAMES, "rows_per_shard": step} | arguments),
    )


def write(path: Path, *, failed: Iterable[int] = (), width: int = WIDTH, **settings: object) -> Path:
    """Write a whole file in one go."""
    lost = set(failed)
    storage = str(settings.get("storage", "float32"))
    with begin(path, width=width, **settings) as writer:
        for start, stop in writer.pending():
            writer.commit(make_rows(start, stop, width=width, failed=lost, storage=storage))
        return writer.seal()
