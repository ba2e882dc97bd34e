"""Inception-v3 as an ONNX model, from pool3's table and its tensors with batch norm folded. Needs ``onnx``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper  # type: ignore[import-not-found]

from pool3.backbones import INCEPTION_V3, ConvLayer, Tensors
from pool3.backbones.inception_v3 import Conv, Pool

OPSET = 17
INPUT = "pixels"
OUTPUT = "pool_3"


def build(tensors: Tensors, batch_size: int) -> bytes:
    """Serialise the network: (batch_size, 3, 299, 299) float32 pixels in 0–255 → (batch_size, 2048).

    NCHW is what ONNX has; OpenVINO and ONNX Runtime lay it out as they like.
    """
    graph = _Graph(tensors)
    offset = graph.constant("offset", np.float32(INCEPTION_V3.preprocessing.offset))
    scale = graph.constant("scale", np.float32(INCEPTION_V3.preprocessing.scale))
    x = graph.node("Mul", [graph.node("Sub", [INPUT, offset]), scale])
    layers = iter(INCEPTION_V3.layers)
    for module in INCEPTION_V3.modules:
        outputs = []
        for _, steps in module.branches:
            here = x
            for step in steps:
                if isinstance(step, Conv):
                    here = graph.convolution(next(layers), here)
                elif isinstance(step, Pool):
                    here = graph.pool(step, here)
                else:
                    here = graph.join([graph.convolution(next(layers), here) for _ in step.arms])
            outputs.append(here)
        x = graph.join(outputs)
    graph.node("Flatten", [graph.node("GlobalAveragePool", [x])], OUTPUT)
    made = helper.make_graph(
        graph.nodes,
        INCEPTION_V3.name,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, (batch_size, 3, 299, 299))],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, (batch_size, 2048))],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    serialised: bytes = model.SerializeToString()
    return serialised


class _Graph:
    """Collects nodes; each method returns the name of the new node's output."""

    def __init__(self, tensors: Tensors) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._folded = INCEPTION_V3.folded(tensors)

    def constant(self, name: str, value: NDArray[np.float32] | np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op: str, inputs: Sequence[str], name: str = "", **attributes: Any) -> str:
        output = name or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def convolution(self, layer: ConvLayer, x: str) -> str:
        weights, bias = self._folded[layer.scope]
        inputs = [
            x,
            self.constant(f"{layer.scope}/weights", weights.transpose(3, 2, 0, 1)),
            self.constant(f"{layer.scope}/bias", bias),
        ]
        strides = [layer.stride, layer.stride]
        pads = _pads(layer.shape[0], layer.shape[1], layer.stride, layer.padding)
        return self.node("Relu", [self.node("Conv", inputs, strides=strides, pads=pads)])

    def pool(self, step: Pool, x: str) -> str:
        settings: dict[str, Any] = {
            "kernel_shape": [3, 3],
            "strides": [step.stride, step.stride],
            "pads": _pads(3, 3, step.stride, step.padding),
        }
        if step.kind == "max":
            return self.node("MaxPool", [x], **settings)
        return self.node("AveragePool", [x], count_include_pad=0, **settings)

    def join(self, xs: Sequence[str]) -> str:
        return xs[0] if len(xs) == 1 else self.node("Concat", xs, axis=1)


def _pads(height: int, width: int, stride: int, padding: str) -> list[int]:
    """ONNX's pads (top, left, bottom, right) of a TensorFlow padding."""
    if padding == "VALID":
        return [0, 0, 0, 0]
    # TensorFlow's SAME is symmetric for odd kernels at stride 1, which is all that the network has of it.
    assert stride == 1
    assert height % 2 == width % 2 == 1
    return [height // 2, width // 2, height // 2, width // 2]
