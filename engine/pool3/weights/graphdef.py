"""Read the constants of the frozen graph of 2015-12-05, from the graph's file or the archive it came in."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.backbones import Backbone
from pool3.errors import WeightsError
from pool3.weights.layouts import graph_layout
from pool3.weights.tensors import Stored, gather

MEMBER = "classify_image_graph_def.pb"
"""The graph's name inside ``inception-2015-12-05.tgz``."""

_NORM = "BatchNormWithGlobalNormalization"
_LARGEST_GRAPH = 1 << 28  # the graph has 96 MB


def read_graph(path: Path, backbone: Backbone, *, need_dense: bool) -> dict[str, NDArray[np.float32]]:
    """Read the backbone's tensors from a frozen GraphDef or from a tar archive that holds it.

    Where a batch norm's ``scale_after_normalization`` is false, gamma takes no part: it becomes ones.

    Returns:
        See `pool3.weights.tensors.gather`.

    Raises:
        WeightsError: the file is damaged or no such graph, or epsilon or tensors are not the backbone's.
        OSError: the file cannot be read.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    layout = graph_layout(backbone, path)
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(_graph_bytes(path))
    except DecodeError as error:
        raise WeightsError(
            f"{path} is not a frozen TensorFlow graph, or is truncated; get the file again."
        ) from error

    stored: dict[str, Stored] = {}
    norms: dict[str, Any] = {}
    for node in graph.node:
        if node.op == "Const" and (node.name in layout or _is_weight(node.name)):
            stored[node.name] = _stored(node, path)
        elif node.name.endswith("/batchnorm"):
            norms[node.name] = node
    for layer in backbone.layers:
        gamma = f"{layer.scope}/batchnorm/gamma"
        if not _scales(norms.get(f"{layer.scope}/batchnorm"), layer.scope, backbone, path):
            stored[gamma] = _ones(layer.channels)
    return gather(stored, layout, backbone, path, need_dense=need_dense)


def _graph_bytes(path: Path) -> bytes:
    """Return the serialized graph: the file itself, or the member of an archive."""
    with path.open("rb") as file:
        head = file.read(262)
        if not (head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar"):
            file.seek(0)
            return file.read(_LARGEST_GRAPH + 1)
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                if member.isfile() and Path(member.name).name == MEMBER and member.size <= _LARGEST_GRAPH:
                    content = archive.extractfile(member)
                    if content is not None:
                        return content.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise WeightsError(f"{path} is a damaged archive ({error}); get the file again.") from error
    raise WeightsError(f"{path} is an archive without {MEMBER}; give inception-2015-12-05.tgz.")


def _is_weight(name: str) -> bool:
    parent, _, leaf = name.rpartition("/")
    return leaf == "conv2d_params" or parent.endswith("/batchnorm")


def _stored(node: Any, path: Path) -> Stored:
    import tensorflow as tf

    tensor = node.attr["value"].tensor

    def read() -> NDArray[Any]:
        try:
            return np.asarray(tf.make_ndarray(tensor))
        except (ValueError, TypeError) as error:
            raise WeightsError(
                f"Constant {node.name!r} in {path} is damaged ({error}); get the file again."
            ) from error

    return Stored(tuple(int(dim.size) for dim in tensor.tensor_shape.dim), read)


def _ones(count: int) -> Stored:
    return Stored((count,), lambda: np.ones(count, np.float32))


def _scales(node: Any, scope: str, backbone: Backbone, path: Path) -> bool:
    """Tell whether the batch norm multiplies by its gamma, having checked its op and its epsilon."""
    if node is None or node.op != _NORM:
        found = "none" if node is None else node.op
        raise WeightsError(
            f"{path} has no {_NORM} node {scope + '/batchnorm'!r} (found: {found}); "
            "give the graph of 2015-12-05."
        )
    epsilon = node.attr["variance_epsilon"].f
    if not np.isclose(epsilon, backbone.batch_norm_epsilon, rtol=1e-6, atol=0):  # a float32 in the file
        raise WeightsError(
            f"Node {node.name!r} in {path} has variance_epsilon {epsilon:g}, where {backbone.name} needs "
            f"{backbone.batch_norm_epsilon:g}; give the graph of 2015-12-05."
        )
    return bool(node.attr["scale_after_normalization"].b)
