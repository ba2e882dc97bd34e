"""Maps of features, as ``pool3 project`` makes them and as their libraries do alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.cases.store import provenance
from bench.measure import Work

_WIDTH = 1280


def project(folder: Path, rows: int) -> Work:
    """From a feature file to places and how good they are; nothing is drawn."""
    import pool3
    from pool3.store import FeatureWriter, Rows

    path = folder / "map.h5"
    folder.mkdir(parents=True, exist_ok=True)
    with FeatureWriter.open(
        path,
        provenance(),
        inputs=rows,
        width=_WIDTH,
        label_names=(),
        rows_per_shard=rows,
    ) as writer:
        writer.commit(
            Rows(
                start=0,
                stop=rows,
                source_index=np.arange(rows),
                ids=[f"{i:05}" for i in range(rows)],
                labels=np.full(rows, -1, np.int32),
                content_sha256=np.zeros((rows, 32), np.uint8),
                features=_features(rows),
                failures=[],
            )
        )
        writer.seal()

    def call() -> None:
        pool3.project(path, backend="opentsne")

    return Work(call)


def plain(rows: int) -> Work:
    """What a user of both libraries would write."""
    import os

    from openTSNE import TSNE
    from sklearn.decomposition import PCA

    features = _features(rows)

    def call() -> None:
        reduced = PCA(50, random_state=0).fit_transform(features)
        TSNE(n_jobs=len(os.sched_getaffinity(0)), random_state=0).fit(reduced)

    return Work(call)


def _features(rows: int) -> NDArray[np.float32]:
    """Ten classes that overlap, as those of ``svm`` do: (rows, 1280)."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((10, _WIDTH)) * 0.12
    found: NDArray[np.float32] = (centres[np.arange(rows) % 10] + rng.standard_normal((rows, _WIDTH))).astype(
        np.float32
    )
    return found
