"""Feature files of real images without a network: the ids, labels and digests of a source, and given features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pool3.sources import Unreadable, content_sha256, open_source
from pool3.store import Failure, FeatureWriter, Rows
from tests.store.examples import PROVENANCE


def write_features(
    path: Path, images_of: Any, features: np.ndarray | None = None, *, width: int = 8, **changes: Any
) -> Path:
    """Write what an extraction of `images_of` would.

    Features (N, D) are by class where none are given; `changes` go into the provenance.
    """
    images = open_source(images_of)
    count = len(images)
    if features is None:
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(len(images.label_names) + 1, width)) * 5
        features = centres[images.labels] + rng.normal(size=(count, width))
    contents = list(images.read(0, count))
    good = [i for i, content in enumerate(contents) if not isinstance(content, Unreadable)]
    digests = [np.frombuffer(content_sha256(contents[i]), np.uint8) for i in good]
    made = {"source": images.description, "source_manifest_sha256": images.manifest_sha256()}
    with FeatureWriter.open(
        path,
        replace(PROVENANCE, **(made | changes)),
        inputs=count,
        width=features.shape[1],
        label_names=images.label_names,
        rows_per_shard=max(1, count),
    ) as writer:
        for start, stop in writer.pending():
            writer.commit(
                Rows(
                    start=start,
                    stop=stop,
                    source_index=np.array(good, np.int64),
                    ids=[images.ids[i] for i in good],
                    labels=images.labels[good],
                    content_sha256=np.array(digests, np.uint8).reshape(-1, 32),
                    features=features[good].astype(np.float32),
                    failures=[
                        Failure(i, images.ids[i], "open", contents[i].error, contents[i].message)
                        for i in range(count)
                        if i not in set(good)
                    ],
                )
            )
        return writer.seal()
