"""Read `keras.applications.InceptionV3`: the published HDF5 files, and Keras 3's ``.weights.h5``.

Both number the layers, and neither by scope. In the published (legacy) files the number counts layers as they
were made, which is the order of ``backbone.layers``. Keras 3 counts layers as its functional model sorts
them: by their distance from the output, the farthest first, so that layers of parallel branches alternate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.backbones import Backbone
from pool3.backbones.inception_v3 import Conv, Fork, InceptionV3
from pool3.errors import WeightsError
from pool3.weights.layouts import canonical_layout
from pool3.weights.tensors import Stored, gather

_NORM_NAMES = {"beta": "beta", "gamma": "gamma", "moving_mean": "mean", "moving_variance": "variance"}


def read_keras(path: Path, backbone: Backbone, *, need_dense: bool) -> dict[str, NDArray[np.float32]]:
    """Read the backbone's tensors from a Keras weights file of either layout.

    Files named ``notop`` have no classifier.

    Returns:
        See `pool3.weights.tensors.gather`.

    Raises:
        WeightsError: the file cannot be read, is damaged or of no known layout, or its tensors are not the backbone's.
    """
    import h5py

    if not isinstance(backbone, InceptionV3) or backbone.name != "inception_v3_keras":
        raise WeightsError(
            f"{path} is a Keras weights file, and pool3 knows no such file for {backbone.name}; "
            "name --backbone inception_v3_keras, or give weights in another format."
        )
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            stored = _keras3(root, backbone, path) if "layers" in root else _legacy(root, backbone, path)
            return gather(stored, canonical_layout(backbone), backbone, path, need_dense=need_dense)
    except (OSError, KeyError, RuntimeError) as error:  # what h5py raises on damage
        raise WeightsError(f"{path} is a damaged HDF5 file ({error}); get the file again.") from error


def _legacy(root: Any, backbone: InceptionV3, path: Path) -> dict[str, Stored]:
    """Tensors of the layout whose attributes ``layer_names`` and ``weight_names`` say what is where."""
    names = [_text(name) for name in root.attrs["layer_names"]]
    convs = _numbered(names, "conv2d")
    norms = _numbered(names, "batch_normalization")
    _check_counts(len(convs), len(norms), backbone, path)
    stored: dict[str, Stored] = {}
    for layer, conv, norm in zip(backbone.layers, convs, norms, strict=True):
        for leaf, dataset in _weights(root[conv]):
            stored[f"{layer.scope}/{'weights' if leaf == 'kernel' else leaf}"] = _stored(dataset)
        for leaf, dataset in _weights(root[norm]):
            stored[f"{layer.scope}/{_NORM_NAMES.get(leaf, leaf)}"] = _stored(dataset)
    if "predictions" in names:
        for leaf, dataset in _weights(root["predictions"]):
            stored[f"softmax/{'weights' if leaf == 'kernel' else 'biases'}"] = _stored(dataset)
    return stored


def _keras3(root: Any, backbone: InceptionV3, path: Path) -> dict[str, Stored]:
    """Tensors of the layout ``layers/NAME/vars/N``."""
    layers = root["layers"]
    convs = _numbered(layers, "conv2d")
    norms = _numbered(layers, "batch_normalization")
    _check_counts(len(convs), len(norms), backbone, path)
    stored: dict[str, Stored] = {}
    for scope, conv, norm in zip(keras3_order(backbone), convs, norms, strict=True):
        for leaf, dataset in zip(("weights",), _variables(layers[conv], 1, path), strict=True):
            stored[f"{scope}/{leaf}"] = _stored(dataset)
        for leaf, dataset in zip(
            ("beta", "mean", "variance"), _variables(layers[norm], 3, path), strict=True
        ):
            stored[f"{scope}/{leaf}"] = _stored(dataset)
    if "dense" in layers:
        for name, dataset in zip(backbone.dense, _variables(layers["dense"], 2, path), strict=True):
            stored[name] = _stored(dataset)
    return stored


def keras3_order(backbone: InceptionV3) -> tuple[str, ...]:
    """Scopes in the order of Keras' sorted layers.

    Keras sorts by the count of layers to the output, a tie in the order of the branches. A convolution is
    three layers there (convolution, batch norm, ReLU), a pool or a concatenation is one. Modules follow one
    another, so it is enough to sort inside each.
    """
    order: list[str] = []
    scopes = iter(layer.scope for layer in backbone.layers)
    for module in backbone.modules:
        depths: list[tuple[int, str]] = []
        for _, steps in module.branches:
            total = sum(_length(step) for step in steps)
            for step in steps:
                if isinstance(step, Conv):
                    depths.append((total, next(scopes)))
                elif isinstance(step, Fork):
                    depths.extend((total, next(scopes)) for _ in step.arms)
                total -= _length(step)
        order.extend(scope for _, scope in sorted(depths, key=lambda item: -item[0]))
    return tuple(order)


def _length(step: object) -> int:
    """Layers that Keras makes of one step, on its longest way."""
    return 3 if isinstance(step, Conv) else 4 if isinstance(step, Fork) else 1


def _numbered(names: Iterable[str], kind: str) -> list[str]:
    """Return the names ``kind`` and ``kind_N``, in the order of N."""
    found = ((re.fullmatch(rf"{kind}(?:_(\d+))?", name), name) for name in names)
    return [name for _, name in sorted((int(match[1] or 0), name) for match, name in found if match)]


def _check_counts(convs: int, norms: int, backbone: Backbone, path: Path) -> None:
    if (convs, norms) != (len(backbone.layers), len(backbone.layers)):
        raise WeightsError(
            f"{path} holds {convs} convolutions and {norms} batch norms, where {backbone.name} needs "
            f"{len(backbone.layers)} of each; give the weights of keras.applications.InceptionV3."
        )


def _weights(group: Any) -> list[tuple[str, Any]]:
    """Last part of each weight's name (``kernel``, ``beta`` …), and its dataset."""
    names = [_text(name) for name in group.attrs["weight_names"]]
    return [(name.rpartition("/")[2].partition(":")[0], group[name]) for name in names]


def _variables(group: Any, count: int, path: Path) -> list[Any]:
    variables = group["vars"]
    if len(variables) != count:
        raise WeightsError(
            f"{path} holds {len(variables)} variables in {group.name!r}, where {count} are needed; "
            "give the weights of keras.applications.InceptionV3."
        )
    return [variables[str(index)] for index in range(count)]


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _stored(dataset: Any) -> Stored:
    return Stored(tuple(dataset.shape), lambda: np.asarray(dataset[()]))
