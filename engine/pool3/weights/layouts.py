"""How each file format names a backbone's tensors.

Sources: the scopes of ``classify_image_graph_def.pb``; for PyTorch the module names of torchvision's
Inception-v3, which the FID state dict of 2015-12-05 keeps, and of the EfficientNet-PyTorch package.
torch-fidelity matched the graph's branches with PyTorch's modules (``util_convert_inception_weights.py``).
"""

from __future__ import annotations

from pathlib import Path

from pool3.backbones import Backbone, ConvLayer
from pool3.errors import WeightsError
from pool3.weights.tensors import Layout, Place

_VECTOR = (0,)
_AS_IS = (0, 1, 2, 3)
_OIHW = (2, 3, 1, 0)
_DEPTHWISE_OIHW = (2, 3, 0, 1)  # (C, 1, k, k) → (k, k, C, 1)
_TRANSPOSED = (1, 0)

_STEM = {
    "conv": "Conv2d_1a_3x3",
    "conv_1": "Conv2d_2a_3x3",
    "conv_2": "Conv2d_2b_3x3",
    "conv_3": "Conv2d_3b_1x1",
    "conv_4": "Conv2d_4a_3x3",
}
_MODULE_35 = {
    "conv": "branch1x1",
    "tower/conv": "branch5x5_1",
    "tower/conv_1": "branch5x5_2",
    "tower_1/conv": "branch3x3dbl_1",
    "tower_1/conv_1": "branch3x3dbl_2",
    "tower_1/conv_2": "branch3x3dbl_3",
    "tower_2/conv": "branch_pool",
}
_MODULE_35_TO_17 = {
    "conv": "branch3x3",
    "tower/conv": "branch3x3dbl_1",
    "tower/conv_1": "branch3x3dbl_2",
    "tower/conv_2": "branch3x3dbl_3",
}
_MODULE_17 = {
    "conv": "branch1x1",
    "tower/conv": "branch7x7_1",
    "tower/conv_1": "branch7x7_2",
    "tower/conv_2": "branch7x7_3",
    "tower_1/conv": "branch7x7dbl_1",
    "tower_1/conv_1": "branch7x7dbl_2",
    "tower_1/conv_2": "branch7x7dbl_3",
    "tower_1/conv_3": "branch7x7dbl_4",
    "tower_1/conv_4": "branch7x7dbl_5",
    "tower_2/conv": "branch_pool",
}
_MODULE_17_TO_8 = {
    "tower/conv": "branch3x3_1",
    "tower/conv_1": "branch3x3_2",
    "tower_1/conv": "branch7x7x3_1",
    "tower_1/conv_1": "branch7x7x3_2",
    "tower_1/conv_2": "branch7x7x3_3",
    "tower_1/conv_3": "branch7x7x3_4",
}
_MODULE_8 = {
    "conv": "branch1x1",
    "tower/conv": "branch3x3_1",
    "tower/mixed/conv": "branch3x3_2a",
    "tower/mixed/conv_1": "branch3x3_2b",
    "tower_1/conv": "branch3x3dbl_1",
    "tower_1/conv_1": "branch3x3dbl_2",
    "tower_1/mixed/conv": "branch3x3dbl_3a",
    "tower_1/mixed/conv_1": "branch3x3dbl_3b",
    "tower_2/conv": "branch_pool",
}
_MODULES = {
    "mixed": ("Mixed_5b", _MODULE_35),
    "mixed_1": ("Mixed_5c", _MODULE_35),
    "mixed_2": ("Mixed_5d", _MODULE_35),
    "mixed_3": ("Mixed_6a", _MODULE_35_TO_17),
    "mixed_4": ("Mixed_6b", _MODULE_17),
    "mixed_5": ("Mixed_6c", _MODULE_17),
    "mixed_6": ("Mixed_6d", _MODULE_17),
    "mixed_7": ("Mixed_6e", _MODULE_17),
    "mixed_8": ("Mixed_7a", _MODULE_17_TO_8),
    "mixed_9": ("Mixed_7b", _MODULE_8),
    "mixed_10": ("Mixed_7c", _MODULE_8),
}


def _inception_names(layer: ConvLayer) -> tuple[str, str]:
    """Names of the convolution and of its batch norm in the FID state dict."""
    if layer.scope in _STEM:
        module = _STEM[layer.scope]
    else:
        outer, _, inner = layer.scope.partition("/")
        name, branches = _MODULES[outer]
        module = f"{name}.{branches[inner]}"
    return f"{module}.conv", f"{module}.bn"


def _efficientnet_names(layer: ConvLayer) -> tuple[str, str]:
    """Names of the convolution and of its batch norm in EfficientNet-PyTorch."""
    if layer.scope == "stem":
        return "_conv_stem", "_bn0"
    if layer.scope == "head":
        return "_conv_head", "_bn1"
    block, _, part = layer.scope.partition("/")
    norm = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[part]
    prefix = f"_blocks.{block.removeprefix('blocks_')}"
    return f"{prefix}._{part}_conv", f"{prefix}.{norm}"


_TORCH = {"inception_v3": (_inception_names, "fc"), "efficientnet_lite0": (_efficientnet_names, "_fc")}


def torch_layout(backbone: Backbone, path: Path) -> Layout:
    """PyTorch's names of the backbone's tensors.

    Raises:
        WeightsError: no PyTorch file is known for the backbone.
    """
    if backbone.name not in _TORCH:
        raise _no_layout("a PyTorch state dict", backbone, path)
    names, dense = _TORCH[backbone.name]
    layout: dict[str, Place] = {}
    for layer in backbone.layers:
        conv, norm = names(layer)
        axes = _DEPTHWISE_OIHW if layer.depthwise else _OIHW
        layout[f"{conv}.weight"] = Place(f"{layer.scope}/weights", axes)
        for theirs, ours in (
            ("weight", "gamma"), ("bias", "beta"), ("running_mean", "mean"), ("running_var", "variance"),
        ):  # fmt: skip
            layout[f"{norm}.{theirs}"] = Place(f"{layer.scope}/{ours}", _VECTOR)
    layout[f"{dense}.weight"] = Place("softmax/weights", _TRANSPOSED)
    layout[f"{dense}.bias"] = Place("softmax/biases", _VECTOR)
    return layout


def graph_layout(backbone: Backbone, path: Path) -> Layout:
    """Name the 2015 graph's constants of the backbone's tensors.

    Raises:
        WeightsError: the backbone is not that graph's network.
    """
    if backbone.name != "inception_v3":
        raise _no_layout("a frozen TensorFlow graph", backbone, path)
    layout: dict[str, Place] = {}
    for layer in backbone.layers:
        layout[f"{layer.scope}/conv2d_params"] = Place(f"{layer.scope}/weights", _AS_IS)
        for theirs, ours in (
            ("beta", "beta"), ("gamma", "gamma"), ("moving_mean", "mean"), ("moving_variance", "variance"),
        ):  # fmt: skip
            layout[f"{layer.scope}/batchnorm/{theirs}"] = Place(f"{layer.scope}/{ours}", _VECTOR)
    return layout | {name: Place(name, tuple(range(len(shape)))) for name, shape in backbone.dense.items()}


def canonical_layout(backbone: Backbone) -> Layout:
    """pool3's own names, nothing transposed."""
    return {name: Place(name, tuple(range(len(shape)))) for name, shape in backbone.tensors().items()}


def _no_layout(what: str, backbone: Backbone, path: Path) -> WeightsError:
    return WeightsError(
        f"{path} is {what}, and pool3 knows no such file for {backbone.name}; "
        "name another --backbone, or give weights in another format."
    )
