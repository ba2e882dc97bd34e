"""Writes a frozen graph with the names, ops and preprocessing of ``classify_image_graph_def.pb`` (2015-12-05).

What a user of 2016 ran, from any tensors: the oracle of the parity tests and the ``blog_loop`` that pool3 is
measured against. Needs TensorFlow for its protocol buffers, and nothing of pool3's own network but its table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pool3.backbones import INCEPTION_V3, Tensors

# BatchNormWithGlobalNormalization is refused in graphs of producer 9 and later.
PRODUCER = 8


class _Builder:
    """Appends nodes to a GraphDef; each method returns the new node's name."""

    def __init__(self) -> None:
        self.graph = tf.compat.v1.GraphDef()
        self.graph.versions.producer = PRODUCER

    def node(self, name: str, op: str, *inputs: str, **attributes: Any) -> str:
        node = self.graph.node.add(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            slot = node.attr[key]
            if isinstance(value, tf.DType):
                slot.type = value.as_datatype_enum
            elif isinstance(value, bool):
                slot.b = value
            elif isinstance(value, int):
                slot.i = value
            elif isinstance(value, float):
                slot.f = value
            elif isinstance(value, str):
                slot.s = value.encode()
            elif isinstance(value, list):
                slot.list.i.extend(value)
            else:
                slot.tensor.CopyFrom(value)
        return name

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        dtype = tf.as_dtype(value.dtype)
        return self.node(name, "Const", dtype=dtype, value=tf.make_tensor_proto(value))

    def convolution(self, scope: str, x: str, tensors: Tensors, stride: int, padding: str) -> str:
        weights = self.constant(f"{scope}/conv2d_params", tensors[f"{scope}/weights"])
        y = self.node(
            f"{scope}/Conv2D", "Conv2D", x, weights,
            T=tf.float32, strides=[1, stride, stride, 1], padding=padding, use_cudnn_on_gpu=True,
        )  # fmt: skip
        parts = {"beta": "beta", "gamma": "gamma", "moving_mean": "mean", "moving_variance": "variance"}
        norm = {n: self.constant(f"{scope}/batchnorm/{n}", tensors[f"{scope}/{t}"]) for n, t in parts.items()}
        y = self.node(
            f"{scope}/batchnorm", "BatchNormWithGlobalNormalization",
            y, norm["moving_mean"], norm["moving_variance"], norm["beta"], norm["gamma"],
            T=tf.float32, variance_epsilon=0.001, scale_after_normalization=True,
        )  # fmt: skip
        check = self.node(f"{scope}/CheckNumerics", "CheckNumerics", y, T=tf.float32, message=scope)
        y = self.node(f"{scope}/control_dependency", "Identity", y, f"^{check}", T=tf.float32)
        return self.node(scope, "Relu", y, T=tf.float32)

    def pool(self, name: str, x: str, kind: str, size: int, stride: int, padding: str) -> str:
        return self.node(
            name, "AvgPool" if kind == "avg" else "MaxPool", x,
            T=tf.float32, ksize=[1, size, size, 1], strides=[1, stride, stride, 1], padding=padding,
        )  # fmt: skip

    def join(self, module: str, xs: list[str]) -> str:
        axis = self.constant(f"{module}/join/concat_dim", np.int32(3))
        return self.node(f"{module}/join", "Concat", axis, *xs, T=tf.float32, N=len(xs))


def graph_2015(tensors: Tensors) -> Any:
    """Build the GraphDef from canonical tensors of `INCEPTION_V3`.

    Written out module by module from the published names, not from pool3's table of modules: an error in that
    table must show as a difference.
    """
    b = _Builder()
    strides = {layer.scope: (layer.stride, layer.padding) for layer in INCEPTION_V3.layers}

    def conv(scope: str, x: str, stride: int = 1, padding: str = "SAME") -> str:
        if strides[scope] != (stride, padding):
            raise AssertionError(
                f"{scope}: pool3's table says {strides[scope]}, the graph {(stride, padding)}"
            )
        return b.convolution(scope, x, tensors, stride, padding)

    def chain(scope: str, x: str, count: int, last: tuple[int, str] = (1, "SAME")) -> str:
        for i in range(count):
            stride, padding = last if i == count - 1 else (1, "SAME")
            x = conv(f"{scope}/conv" + (f"_{i}" if i else ""), x, stride, padding)
        return x

    b.constant("DecodeJpeg/contents", np.array(b"", dtype=object))
    x = b.node("DecodeJpeg", "DecodeJpeg", "DecodeJpeg/contents", channels=3, ratio=1, fancy_upscaling=True,
               try_recover_truncated=False, acceptable_fraction=1.0)  # fmt: skip
    x = b.node("Cast", "Cast", x, SrcT=tf.uint8, DstT=tf.float32)
    dim = b.constant("ExpandDims/dim", np.int32(0))
    x = b.node("ExpandDims", "ExpandDims", x, dim, T=tf.float32)
    size = b.constant("ResizeBilinear/size", np.array([299, 299], np.int32))
    x = b.node("ResizeBilinear", "ResizeBilinear", x, size, T=tf.float32, align_corners=False)
    x = b.node("Sub", "Sub", x, b.constant("Sub/y", np.float32(128)), T=tf.float32)
    x = b.node("Mul", "Mul", x, b.constant("Mul/y", np.float32(0.0078125)), T=tf.float32)

    valid = "VALID"
    x = conv("conv", x, 2, valid)
    x = conv("conv_1", x, 1, valid)
    x = conv("conv_2", x)
    x = b.pool("pool", x, "max", 3, 2, valid)
    x = conv("conv_3", x, 1, valid)
    x = conv("conv_4", x, 1, valid)
    x = b.pool("pool_1", x, "max", 3, 2, valid)
    for m in ("mixed", "mixed_1", "mixed_2"):
        pooled = b.pool(f"{m}/tower_2/pool", x, "avg", 3, 1, "SAME")
        x = b.join(m, [
            conv(f"{m}/conv", x),
            chain(f"{m}/tower", x, 2),
            chain(f"{m}/tower_1", x, 3),
            conv(f"{m}/tower_2/conv", pooled),
        ])  # fmt: skip
    x = b.join("mixed_3", [
        conv("mixed_3/conv", x, 2, valid),
        chain("mixed_3/tower", x, 3, (2, valid)),
        b.pool("mixed_3/pool", x, "max", 3, 2, valid),
    ])  # fmt: skip
    for m in ("mixed_4", "mixed_5", "mixed_6", "mixed_7"):
        pooled = b.pool(f"{m}/tower_2/pool", x, "avg", 3, 1, "SAME")
        x = b.join(m, [
            conv(f"{m}/conv", x),
            chain(f"{m}/tower", x, 3),
            chain(f"{m}/tower_1", x, 5),
            conv(f"{m}/tower_2/conv", pooled),
        ])  # fmt: skip
    x = b.join("mixed_8", [
        chain("mixed_8/tower", x, 2, (2, valid)),
        chain("mixed_8/tower_1", x, 4, (2, valid)),
        b.pool("mixed_8/pool", x, "max", 3, 2, valid),
    ])  # fmt: skip
    for m, kind in (("mixed_9", "avg"), ("mixed_10", "max")):
        pooled = b.pool(f"{m}/tower_2/pool", x, kind, 3, 1, "SAME")
        one = conv(f"{m}/conv", x)
        two = conv(f"{m}/tower/conv", x)
        three = chain(f"{m}/tower_1", x, 2)
        x = b.join(m, [
            one,
            conv(f"{m}/tower/mixed/conv", two),
            conv(f"{m}/tower/mixed/conv_1", two),
            conv(f"{m}/tower_1/mixed/conv", three),
            conv(f"{m}/tower_1/mixed/conv_1", three),
            conv(f"{m}/tower_2/conv", pooled),
        ])  # fmt: skip
    x = b.pool("pool_3", x, "avg", 8, 1, valid)
    shape = b.constant("pool_3/_reshape/shape", np.array([-1, 2048], np.int32))
    x = b.node("pool_3/_reshape", "Reshape", x, shape, T=tf.float32)
    weights = b.constant("softmax/weights", tensors["softmax/weights"])
    biases = b.constant("softmax/biases", tensors["softmax/biases"])
    x = b.node(
        "softmax/logits/MatMul", "MatMul", x, weights, T=tf.float32, transpose_a=False, transpose_b=False
    )
    x = b.node("softmax/logits", "BiasAdd", x, biases, T=tf.float32)
    b.node("softmax", "Softmax", x, T=tf.float32)
    return b.graph


@contextmanager
def session_2015(graph: Any, *, batched: bool = False) -> Iterator[Any]:
    """Open a TensorFlow 1 session on the graph, as the blog did.

    Args:
        graph: a GraphDef, as from `graph_2015`.
        batched: import the graph with a float32 (N, H, W, 3) placeholder in the place of ``ExpandDims:0``, named
            ``images:0``, as FID tools feed batches.
    """
    imported = tf.Graph()
    with imported.as_default():
        if batched:
            images = tf.compat.v1.placeholder(tf.float32, (None, None, None, 3), name="images")
            tf.import_graph_def(graph, {"ExpandDims:0": images}, name="")
        else:
            tf.import_graph_def(graph, name="")
    # Opened on the graph, yet not as the default: eager code runs beside it.
    with closing(tf.compat.v1.Session(graph=imported)) as session:
        yield session
