"""Write the constants and batch norms of the 2015 graph as a GraphDef."""

from __future__ import annotations

from typing import Any

import numpy as np

from pool3.backbones import Backbone, Tensors

NORM = "BatchNormWithGlobalNormalization"


def make_graph(
    tensors: Tensors, backbone: Backbone, *, epsilon: float = 0.001, scale: bool = True, op: str = NORM
) -> Any:
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef()

    def constant(name: str, value: Any) -> None:
        node = graph.node.add(name=name, op="Const")
        node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))

    constant("ResizeBilinear/size", np.array([299, 299], np.int32))
    for layer in backbone.layers:
        constant(f"{layer.scope}/conv2d_params", tensors[f"{layer.scope}/weights"])
        for theirs, ours in {
            "beta": "beta",
            "gamma": "gamma",
            "moving_mean": "mean",
            "moving_variance": "variance",
        }.items():
            constant(f"{layer.scope}/batchnorm/{theirs}", tensors[f"{layer.scope}/{ours}"])
        norm = graph.node.add(name=f"{layer.scope}/batchnorm", op=op)
        norm.attr["variance_epsilon"].f = epsilon
        norm.attr["scale_after_normalization"].b = scale
    for name in backbone.dense:
        if name in tensors:
            constant(name, tensors[name])
    return graph
