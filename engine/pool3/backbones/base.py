"""What every backbone declares, and the table of tensors that weights files are checked against.

Nothing here imports TensorFlow at module level: `pool3 weights list` and `pool3 --help` stay quick.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[np.float32]]
"""A network's trained tensors by canonical name (see `ConvLayer`), float32."""

Network = Callable[[Any], dict[str, Any]]
"""(B, S, S, 3) float32 pixels in 0–255 → the features that were asked for, by name, each (B, …) float32."""


@dataclass(frozen=True, slots=True)
class ConvLayer:
    """One convolution with its batch norm, as the canonical tensors ``scope/weights|beta|gamma|mean|variance``.

    Attributes:
        scope: canonical name of the layer.
        shape: (kh, kw, in, out), or (kh, kw, channels, 1) for a depthwise convolution.
        stride: the same down and across.
        padding: TensorFlow's name for it.
        depthwise: whether each channel is convolved by itself.
        gamma: whether the batch norm has a scale.
    """

    scope: str
    shape: tuple[int, int, int, int]
    stride: int = 1
    padding: Literal["SAME", "VALID"] = "SAME"
    depthwise: bool = False
    gamma: bool = True

    @property
    def channels(self) -> int:
        """Count of output channels."""
        return self.shape[2] if self.depthwise else self.shape[3]

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Canonical name → shape of all tensors of this layer."""
        norm = ("beta", "gamma", "mean", "variance") if self.gamma else ("beta", "mean", "variance")
        return {f"{self.scope}/weights": self.shape, **{f"{self.scope}/{n}": (self.channels,) for n in norm}}


Resize = Literal["tf1-bilinear", "bilinear", "clean"]
"""Ways to resize; see `Preprocessing`."""

RESIZES: tuple[Resize, ...] = get_args(Resize)
"""All of them."""

CLEAN: Resize = "clean"
"""The one that Pillow does, image by image on the CPU."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Resize, then ``(pixel - offset) * scale``: bound to the weights, and recorded in every feature file.

    Attributes:
        resize: ``tf1-bilinear`` (the 2015 graph: no half-pixel centres) or ``bilinear`` (half-pixel centres), of
            which neither filters when it shrinks; or ``clean`` (clean-fid's: Pillow's bicubic, which does).
        size: side of the square input, in pixels.
        offset: in pixel levels, 0–255.
        scale: factor after the offset.
    """

    resize: Resize
    size: int
    offset: float
    scale: float

    def __str__(self) -> str:
        """The form recorded in a feature file."""
        return f"resize={self.resize}:{self.size}x{self.size}; normalise=(x-{self.offset:g})*{self.scale!r}"

    @staticmethod
    def recorded_resize(text: str) -> str:
        """The resize that a feature file records, whether this pool3 knows it or not; empty where there is none."""
        found = re.match(r"resize=([^:;]*):", text)
        return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class Contract:
    """How far the features of a reduced precision were from those of float32; made by ``python -m bench precision``.

    Attributes:
        cosine: the smallest of all rows.
        accuracy: change of an SVM's accuracy on the test images, in points.
        images: to train on and to test on, together.
        weights: what the network's weights were.
        data: what the images were.
    """

    cosine: float
    accuracy: float
    images: int
    weights: str
    data: str

    @property
    def holds(self) -> bool:
        """Whether the precision may be chosen unasked."""
        return self.cosine >= LEAST_COSINE and abs(self.accuracy) <= MOST_POINTS


LEAST_COSINE = 0.999
"""Of any row with its float32 self, for a precision to be chosen unasked."""

MOST_POINTS = 0.3
"""Change of an SVM's accuracy, in points, for a precision to be chosen unasked."""


class Backbone(ABC):
    """A family of networks with one set of tensors and named features.

    Attributes:
        name: as given to ``--backbone``.
        preprocessing: see `Preprocessing`.
        layers: all convolutions, in the order of execution.
        dense: canonical name → shape of the classifier's tensors.
        batch_norm_epsilon: added to the variance.
        features: feature name → shape of one image's feature.
        main_feature: the feature taken by default.
        contracts: reduced precision → how far it was measured to be from float32.
    """

    name: str
    preprocessing: Preprocessing
    layers: tuple[ConvLayer, ...]
    dense: Mapping[str, tuple[int, ...]]
    batch_norm_epsilon: float
    features: Mapping[str, tuple[int, ...]]
    main_feature: str
    contracts: Mapping[str, Contract] = MappingProxyType({})

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Canonical name → shape of every tensor that a weights file must hold."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in self.layers:
            shapes |= layer.tensors()
        return shapes | dict(self.dense)

    def folded(self, tensors: Tensors) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Fold every layer's batch norm into its convolution: scope → weights as in the layer's shape, bias (out,)."""
        from pool3_kernels.fold import fold_batch_norm

        return {
            layer.scope: fold_batch_norm(
                tensors[f"{layer.scope}/weights"],
                beta=tensors[f"{layer.scope}/beta"],
                gamma=tensors[f"{layer.scope}/gamma"] if layer.gamma else None,
                mean=tensors[f"{layer.scope}/mean"],
                variance=tensors[f"{layer.scope}/variance"],
                epsilon=self.batch_norm_epsilon,
                depthwise=layer.depthwise,
            )
            for layer in self.layers
        }

    def normalised(self, pixels: Any) -> Any:
        """Pixels in 0–255 of any numeric dtype → the float32 that the first convolution takes."""
        import tensorflow as tf

        return (tf.cast(pixels, tf.float32) - self.preprocessing.offset) * self.preprocessing.scale

    @abstractmethod
    def build(
        self,
        tensors: Tensors,
        features: tuple[str, ...],
        precision: str = "float32",
        *,
        variables: bool = False,
        lanes: int = 1,
    ) -> Network:
        """Make the inference network that returns the named features, batch norm folded.

        Args:
            tensors: the trained ones, by canonical name.
            features: names of those wanted.
            precision: dtype of the convolutions, see `pool3.backbones.ops`.
            variables: hold weights as variables instead of constants, see there too.
            lanes: threads that one step has to itself, where it should end soon rather than leave room for others: the
                work is dealt out to so many. No bit depends on it.
        """


def class_scores(pooled: Any, tensors: Tensors) -> dict[str, Any]:
    """The classifier on top: (B, D) float32 → ``logits`` and ``softmax``, each (B, classes) float32."""
    import tensorflow as tf

    product = tf.linalg.matmul(pooled, tf.constant(tensors["softmax/weights"]))
    logits = tf.nn.bias_add(product, tf.constant(tensors["softmax/biases"]))
    return {"logits": logits, "softmax": tf.nn.softmax(logits)}
