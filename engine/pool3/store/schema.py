"""The feature file's schema, number 1: names, types and the provenance that every file carries."""

from __future__ import annotations

from dataclasses import dataclass

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Everything needed to repeat a run; each field is a root attribute of the feature file, by the same name.

    Attributes:
        pool3_version: version of pool3 that wrote the file.
        pool3_commit: commit of the checkout it ran from; empty where it ran from an installed wheel.
        backbone: name of the network.
        feature: name of the feature.
        feature_shape: shape of one image's feature before it was flattened to a row.
        weights: registry name, ``random:SEED``, or ``custom`` for a path of the user's own.
        weights_sha256: SHA-256 of the weights file; of the seed's tensors for random weights.
        tensor_digest: SHA-256 over the tensors, equal for the same weights in any file format.
        preprocessing: resize and normalisation, in words.
        decoder: what turned files into pixels, with the options that change them.
        precision: dtype of the convolutions.
        batch_size: the compute shape's first dimension.
        route: where images were resized (see docs/architecture.md).
        threads: intra-op threads of TensorFlow, 0 where TensorFlow chose.
        device: what ran the network.
        tf32: whether TensorFloat-32 was allowed in float32.
        libraries: library → version, of all that can change a number.
        source: what the user gave as the source.
        source_manifest_sha256: digest of the ordered ids and labels.
        created: UTC, ISO 8601.
    """

    pool3_version: str
    pool3_commit: str
    backbone: str
    feature: str
    feature_shape: tuple[int, ...]
    weights: str
    weights_sha256: str
    tensor_digest: str
    preprocessing: str
    decoder: str
    precision: str
    batch_size: int
    route: str
    threads: int
    device: str
    tf32: bool
    libraries: dict[str, str]
    source: str
    source_manifest_sha256: str
    created: str


IDENTITY = (
    "backbone",
    "feature",
    "tensor_digest",
    "preprocessing",
    "decoder",
    "precision",
    "source_manifest_sha256",
)
"""The fields of `Provenance` in which a run that adds to a file must agree with the run that began it."""
