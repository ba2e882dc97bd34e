"""Networks that turn pixels into named features, one file a family."""

from __future__ import annotations

from types import MappingProxyType

from pool3.backbones.base import (
    CLEAN,
    LEAST_COSINE,
    RESIZES,
    Backbone,
    Contract,
    ConvLayer,
    Network,
    Preprocessing,
    Resize,
    Tensors,
)
from pool3.backbones.efficientnet_lite0 import EFFICIENTNET_LITE0
from pool3.backbones.inception_v3 import INCEPTION_V3, INCEPTION_V3_KERAS
from pool3.errors import SpecError

BACKBONES = MappingProxyType({b.name: b for b in (INCEPTION_V3, INCEPTION_V3_KERAS, EFFICIENTNET_LITE0)})
"""All backbones by name."""


def get_backbone(name: str) -> Backbone:
    """Return the backbone of that name.

    Raises:
        SpecError: there is none.
    """
    try:
        return BACKBONES[name]
    except KeyError:
        raise SpecError(f"Unknown backbone {name!r}; choose one of {', '.join(BACKBONES)}.") from None


__all__ = [
    "BACKBONES",
    "CLEAN",
    "EFFICIENTNET_LITE0",
    "INCEPTION_V3",
    "INCEPTION_V3_KERAS",
    "LEAST_COSINE",
    "RESIZES",
    "Backbone",
    "Contract",
    "ConvLayer",
    "Network",
    "Preprocessing",
    "Resize",
    "Tensors",
    "get_backbone",
]
