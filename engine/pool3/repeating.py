"""The settings of a feature file, to compute more with."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from pool3.backbones import Preprocessing
from pool3.decoding import DECODER_FAST
from pool3.errors import SpecError, WeightsError
from pool3.extractor import Extractor
from pool3.gathering import Progress
from pool3.result import ExtractResult
from pool3.spec import ExtractSpec
from pool3.store import Provenance, open_features
from pool3.weights import KNOWN_WEIGHTS


def spec_of(recorded: Provenance, *, weights: str | None, devices: str) -> ExtractSpec:
    """The settings that a file was made with.

    Args:
        recorded: the file's provenance.
        weights: the file that ``custom`` weights were read from; None: those that are recorded by name.
        devices: see `ExtractSpec`.

    Raises:
        SpecError: weights of the user's own are needed and not given, or a setting is unknown to this pool3.
    """
    named = recorded.weights in KNOWN_WEIGHTS or recorded.weights.startswith("random:")
    if weights is None and not named:  # nor is a path taken from a file that may come from anywhere
        raise SpecError("made with weights from a file of your own: give it by --weights PATH")
    return ExtractSpec(
        backbone=recorded.backbone,
        weights=weights or recorded.weights,
        feature=recorded.feature,
        precision=recorded.precision,
        storage=recorded.storage,
        batch_size=recorded.batch_size,
        resize=Preprocessing.recorded_resize(recorded.preprocessing),
        fast_decode=recorded.decoder == DECODER_FAST,
        resize_on="host" if recorded.route == "host" else "device",
        devices=devices,
    )


def embed_like(
    features: str | os.PathLike[str],
    source: Any,
    output: str | os.PathLike[str],
    *,
    weights: str | None = None,
    devices: str = "auto",
    fetching: Callable[[int, int | None], None] | None = None,
    progress: Progress | None = None,
) -> ExtractResult:
    """Extract images with the network, weights and settings that a feature file was made with.

    Args:
        features: that file.
        source: anything that `open_source` takes.
        output: feature file to write.
        weights: the file that ``custom`` weights were read from; None: those that are recorded by name.
        devices: see `ExtractSpec`.
        fetching: see `Extractor`.
        progress: see `Extractor.extract`.

    Raises:
        SpecError: weights of the user's own are needed and not given.
        WeightsError: the weights are not those that the file was made with.
        Pool3Error: as `Extractor` and `Extractor.extract` raise.
    """
    with open_features(features) as file:
        recorded = file.provenance
    extractor = Extractor(spec_of(recorded, weights=weights, devices=devices), fetching=fetching)
    loaded = extractor.weights.tensor_digest
    if loaded != recorded.tensor_digest:
        raise WeightsError(
            f"the weights {extractor.weights.name} are not those that {features} was made with (tensor digest "
            f"{loaded[:12]}…, recorded {recorded.tensor_digest[:12]}…); give those by --weights PATH"
        )
    return extractor.extract(source, output, progress=progress)
