"""The settings of one run, checked when they are made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from pool3.backbones import CLEAN, RESIZES, get_backbone
from pool3.devices import cores
from pool3.errors import SpecError
from pool3.store.schema import STORAGES

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
"""Precisions that a run may ask for; ``auto`` is the quickest one of the device that the network is known to bear."""

XLA = ("auto", "on", "off")
"""Whether XLA compiles the network; ``auto``: on a GPU."""

RESIZE_ON = ("auto", "host", "device")
"""Where images are resized; ``auto``: on a GPU, and on the host for the CPU but for arrays of one size."""

CPU_BATCH_SIZE = 8
"""Images a step on a CPU: with two steps at a time, more gain nothing and fill its caches."""

GPU_BATCH_SIZES = (16, 256)
"""Fewest and most images a step on a GPU that pool3 chooses."""

GPU_BYTES_PER_IMAGE = 64 << 20
"""Device memory that is reckoned for an image of a step. Of Inception-v3's activations the largest are 5.5 MB in
float32; the rest is room for algorithms' workspaces and for two steps at a time. An estimate, not measured on a GPU."""

SHARD_ROWS = 1024
"""Most images committed at a time, before rounding to whole batches: a minute of work on two cores."""

SHARD_BYTES = 64 << 20
"""Most features committed at a time: a wide feature map is committed in fewer rows, so that memory stays flat."""

MAX_DECODERS = 8
"""Most decode workers unless more are asked for: each holds a decoded batch, 33 MiB of 32 images at 299²."""

_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_DEVICES = re.compile(r"auto|(cpu|gpu)(:\d+(,\d+)*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractSpec:
    """What to compute and how, apart from where images come from and where features go.

    Attributes:
        backbone: name of the network; see `pool3.backbones.BACKBONES`.
        weights: name in the registry, path, or ``random:SEED``; None for the backbone's own.
        feature: name of the feature; empty for the backbone's main one.
        precision: dtype of the convolutions; ``auto`` lets pool3 choose.
        storage: dtype of the stored features, ``float32`` or ``float16``.
        batch_size: images a step; 0 lets pool3 choose.
        workers: batches decoded at a time; 0 lets pool3 choose. No number depends on it.
        resize: one of `RESIZES`; empty for the backbone's own.
        fast_decode: decode large JPEGs at a fraction of their size, see `pool3.decoding.DECODER_FAST`.
        resize_on: resize images on the ``device`` or on the ``host``; ``auto`` lets pool3 choose.
        devices: see `pool3.devices.choose_devices`.
        xla: compile the network by XLA: ``auto`` (on a GPU), ``on`` or ``off``.
        offline: never touch the network to fetch weights.

    Raises:
        SpecError: on construction, where a setting is not one that pool3 knows.
    """

    backbone: str = "inception_v3"
    weights: str | None = None
    feature: str = ""
    precision: str = "auto"
    storage: str = "float32"
    batch_size: int = 0
    workers: int = 0
    resize: str = ""
    fast_decode: bool = False
    resize_on: str = "auto"
    devices: str = "auto"
    xla: str = "auto"
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
        if self.storage not in STORAGES:
            raise SpecError(f"Unknown storage {self.storage!r}; choose one of {', '.join(STORAGES)}.")
        if not self.resize:
            object.__setattr__(self, "resize", network.preprocessing.resize)
        if self.resize not in RESIZES:
            raise SpecError(f"Unknown resize {self.resize!r}; choose one of {', '.join(RESIZES)}.")
        if self.workers < 0:
            raise SpecError(f"The workers must be at least 1, or 0 for auto; received {self.workers}.")
        if self.batch_size < 0:
            raise SpecError(f"The batch size must be at least 1, or 0 for auto; received {self.batch_size}.")
        if not _DEVICES.fullmatch(self.devices):
            raise SpecError(f"Unknown devices {self.devices!r}; choose auto, cpu, gpu or gpu:0,1.")
        listed = self.devices.partition(":")[2].split(",")
        if len(set(listed)) < len(listed):
            raise SpecError(f"--devices {self.devices} names a device twice.")
        if self.xla not in XLA:
            raise SpecError(f"Unknown xla {self.xla!r}; choose one of {', '.join(XLA)}.")
        if self.resize_on not in RESIZE_ON:
            raise SpecError(f"Unknown resize_on {self.resize_on!r}; choose one of {', '.join(RESIZE_ON)}.")
        if self.resize_on == "device" and self.resize == CLEAN:
            raise SpecError(
                f"The resize {CLEAN} is Pillow's, which runs on the host: choose resize_on host or auto."
            )

    def route(self, *, one_size: bool, on_gpu: bool) -> str:
        """How images reach the network.

        Args:
            one_size: whether the source holds arrays of one size.
            on_gpu: whether the network runs on GPUs.

        Returns:
            ``device``: uint8 arrays of one size, resized on the device; ``canvas``: uint8 images of several sizes on
            a common canvas, resized there too; ``host``: each resized by itself in the `tf.data` graph.
        """
        if self.resize_on == "host" or self.resize == CLEAN:
            return "host"
        if one_size:
            return "device"
        return "canvas" if on_gpu or self.resize_on == "device" else "host"

    def uses_xla(self, *, on_gpu: bool) -> bool:
        """Whether XLA compiles the network on such devices."""
        return self.xla == "on" or (self.xla == "auto" and on_gpu)

    @property
    def decoders(self) -> int:
        """The workers that run: 0 resolved to the processors that this process may use, at most `MAX_DECODERS`."""
        if self.workers:
            return self.workers
        return min(max(2, cores()), MAX_DECODERS)


def parse_count(text: str, option: str) -> int:
    """Read an option that takes a number, or ``auto`` for 0.

    Raises:
        SpecError: it is neither.
    """
    if text == "auto":
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise SpecError(f"{option} takes auto or a number of at least 1; received {text!r}.")
    return int(text)


def failure_limit(value: int | str, inputs: int) -> int:
    """Read ``--max-failures``: a count, or a share such as ``5%`` of all images, rounded down.

    Raises:
        SpecError: it is neither.
    """
    text = str(value).strip()
    number = _SHARE.fullmatch(text)
    if number and float(number[1]) <= 100:
        return int(Fraction(number[1]) * inputs / 100)
    if text.isdecimal():
        return int(text)
    raise SpecError(f"--max-failures takes a number, or a share from 0% to 100%; received {text!r}.")
