"""What an extraction did, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pool3.telemetry import advice


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractResult:
    """What a run did.

    Attributes:
        output: the sealed feature file.
        inputs: images in the source.
        rows: images that became a row.
        failures: images that became a recorded failure.
        computed: images that this run worked on; the rest were committed before.
        retried: those among them that had failed before.
        recovered: those of `retried` that became a row.
        seconds: wall time of this run, compilation included; the first run of an `Extractor` bears its start-up.
        images_per_second: `computed` by `seconds`; None where nothing was computed.
        steady_images_per_second: from the first step's end to the last's; `images_per_second` where one step was all.
        blog_ratio: `steady_images_per_second` by the 33.3 of the blog post.
        backbone: name of the network.
        feature: name of the feature.
        weights: registry name, ``random:SEED`` or ``custom``.
        weights_sha256: SHA-256 of the weights file.
        precision: dtype of the convolutions.
        precision_reason: why that one.
        precision_cosine: smallest cosine of the first images with float32; 1 for float32, -1 where there is none.
        storage: dtype of the stored features.
        devices: what ran the network.
        batch_size: images a step.
        stages: stage → seconds; ``read`` and ``write`` run beside the others.
    """

    output: Path
    inputs: int
    rows: int
    failures: int
    computed: int
    retried: int
    recovered: int
    seconds: float
    images_per_second: float | None
    steady_images_per_second: float | None
    blog_ratio: float | None
    backbone: str
    feature: str
    weights: str
    weights_sha256: str
    precision: str
    precision_reason: str
    precision_cosine: float
    storage: str
    devices: list[str]
    batch_size: int
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def advice(self) -> str:
        """What to change where the device waited for images; empty where it did not."""
        return advice(self.stages)

    def to_dict(self) -> dict[str, Any]:
        """The fields as a JSON-able dictionary, times rounded to the millisecond."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in fields.items()}
        stages = {k: round(v, 3) for k, v in self.stages.items()}
        cosine = round(self.precision_cosine, 6)
        told = {
            "output": str(self.output),
            "precision_cosine": cosine,
            "stages": stages,
            "advice": self.advice,
        }
        return rounded | told
