"""The settings of one run, checked when they are made."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pool3.backbones import get_backbone
from pool3.errors import SpecError

PRECISIONS = ("auto", "float32")
"""Precisions that a run may ask for; ``auto`` is float32 on every device so far."""

DEFAULT_BATCH_SIZE = 32
"""Images a step: past it a CPU gains nothing measurable (see ``make bench``, case ``forward``)."""

SHARD_ROWS = 1024
"""Most images committed at a time, before rounding to whole batches: a minute of work on two cores."""

SHARD_BYTES = 64 << 20
"""Most features committed at a time: a wide feature map is committed in fewer rows, so that memory stays flat."""

_DEVICES = re.compile(r"auto|cpu|gpu(:\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractSpec:
    """What to compute and how, apart from where images come from and where features go.

    Attributes:
        backbone: name of the network; see `pool3.backbones.BACKBONES`.
        weights: name in the registry, path, or ``random:SEED``; None for the backbone's own.
        feature: name of the feature; empty for the backbone's main one.
        precision: dtype of the convolutions; ``auto`` lets pool3 choose.
        batch_size: images a step; 0 lets pool3 choose.
        devices: ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.
        offline: never touch the network to fetch weights.

    Raises:
        SpecError: on construction, where a setting is not one that pool3 knows.
    """

    backbone: str = "inception_v3"
    weights: str | None = None
    feature: str = ""
    precision: str = "auto"
    batch_size: int = 0
    devices: str = "auto"
    offline: bool = False

    def __post_init__(self) -> None:
        network = get_backbone(self.backbone)
        if not self.feature:
            object.__setattr__(self, "feature", network.main_feature)
        if self.feature not in network.features:
            known = ", ".join(network.features)
            raise SpecError(f"{self.backbone} has no feature {self.feature!r}; choose one of {known}.")
        if self.precision not in PRECISIONS:
            raise SpecError(f"Unknown precision {self.precision!r}; choose one of {', '.join(PRECISIONS)}.")
        if self.batch_size < 0:
            raise SpecError(f"The batch size must be at least 1, or 0 for auto; received {self.batch_size}.")
        if not _DEVICES.fullmatch(self.devices):
            raise SpecError(f"Unknown devices {self.devices!r}; choose auto, cpu, gpu or gpu:N.")

    @property
    def dtype(self) -> str:
        """The precision that runs: ``auto`` resolved."""
        return "float32"


def parse_batch_size(text: str) -> int:
    """Read ``--batch-size``: a number, or ``auto`` for 0.

    Raises:
        SpecError: it is neither.
    """
    if text == "auto":
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise SpecError(f"--batch-size takes auto or a number of at least 1; received {text!r}.")
    return int(text)
