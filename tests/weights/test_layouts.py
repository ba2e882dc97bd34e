from __future__ import annotations

from pathlib import Path

import pytest

from pool3.backbones import EFFICIENTNET_LITE0, INCEPTION_V3
from pool3.weights.layouts import graph_layout, torch_layout

# One of each kind of branch, as published by torch-fidelity (utils/util_convert_inception_weights.py).
PUBLISHED = {
    "conv": "Conv2d_1a_3x3",
    "conv_1": "Conv2d_2a_3x3",
    "conv_2": "Conv2d_2b_3x3",
    "conv_3": "Conv2d_3b_1x1",
    "conv_4": "Conv2d_4a_3x3",
    "mixed/conv": "Mixed_5b.branch1x1",
    "mixed/tower/conv": "Mixed_5b.branch5x5_1",
    "mixed_1/tower/conv_1": "Mixed_5c.branch5x5_2",
    "mixed_1/tower_1/conv": "Mixed_5c.branch3x3dbl_1",
    "mixed_2/tower_1/conv_2": "Mixed_5d.branch3x3dbl_3",
    "mixed_2/tower_2/conv": "Mixed_5d.branch_pool",
    "mixed_3/conv": "Mixed_6a.branch3x3",
    "mixed_3/tower/conv": "Mixed_6a.branch3x3dbl_1",
    "mixed_3/tower/conv_2": "Mixed_6a.branch3x3dbl_3",
    "mixed_4/conv": "Mixed_6b.branch1x1",
    "mixed_4/tower/conv_1": "Mixed_6b.branch7x7_2",
    "mixed_5/tower_1/conv": "Mixed_6c.branch7x7dbl_1",
    "mixed_6/tower_1/conv_3": "Mixed_6d.branch7x7dbl_4",
    "mixed_7/tower_1/conv_4": "Mixed_6e.branch7x7dbl_5",
    "mixed_7/tower_2/conv": "Mixed_6e.branch_pool",
    "mixed_8/tower/conv_1": "Mixed_7a.branch3x3_2",
    "mixed_8/tower_1/conv": "Mixed_7a.branch7x7x3_1",
    "mixed_8/tower_1/conv_3": "Mixed_7a.branch7x7x3_4",
    "mixed_9/conv": "Mixed_7b.branch1x1",
    "mixed_9/tower/conv": "Mixed_7b.branch3x3_1",
    "mixed_9/tower/mixed/conv": "Mixed_7b.branch3x3_2a",
    "mixed_9/tower/mixed/conv_1": "Mixed_7b.branch3x3_2b",
    "mixed_10/tower_1/conv": "Mixed_7c.branch3x3dbl_1",
    "mixed_10/tower_1/conv_1": "Mixed_7c.branch3x3dbl_2",
    "mixed_10/tower_1/mixed/conv": "Mixed_7c.branch3x3dbl_3a",
    "mixed_10/tower_1/mixed/conv_1": "Mixed_7c.branch3x3dbl_3b",
    "mixed_10/tower_2/conv": "Mixed_7c.branch_pool",
}


@pytest.mark.parametrize(("scope", "module"), PUBLISHED.items())
def test_inception_names_in_torch(scope, module):
    layout = torch_layout(INCEPTION_V3, Path("-"))
    assert layout[f"{module}.conv.weight"] == (f"{scope}/weights", (2, 3, 1, 0))
    found = {
        suffix: layout[f"{module}.bn.{suffix}"].canonical
        for suffix in ("weight", "bias", "running_mean", "running_var")
    }
    assert found == {
        "weight": f"{scope}/gamma",
        "bias": f"{scope}/beta",
        "running_mean": f"{scope}/mean",
        "running_var": f"{scope}/variance",
    }


@pytest.mark.parametrize("layout", [torch_layout, graph_layout])
def test_every_tensor_of_inception_has_one_place(layout):
    places = [place.canonical for place in layout(INCEPTION_V3, Path("-")).values()]
    assert sorted(places) == sorted(INCEPTION_V3.tensors())


def test_graph_names():
    layout = graph_layout(INCEPTION_V3, Path("-"))
    assert (
        layout["mixed_9/tower/mixed/conv_1/conv2d_params"].canonical == "mixed_9/tower/mixed/conv_1/weights"
    )
    assert layout["conv/batchnorm/moving_variance"].canonical == "conv/variance"
    assert layout["softmax/weights"] == ("softmax/weights", (0, 1))


def test_efficientnet_names():
    layout = torch_layout(EFFICIENTNET_LITE0, Path("-"))
    assert sorted(place.canonical for place in layout.values()) == sorted(EFFICIENTNET_LITE0.tensors())
    assert layout["_blocks.4._depthwise_conv.weight"] == ("blocks_4/depthwise/weights", (2, 3, 0, 1))
    assert layout["_blocks.4._bn0.weight"].canonical == "blocks_4/expand/gamma"
    assert layout["_blocks.0._bn2.running_var"].canonical == "blocks_0/project/variance"
    assert layout["_bn1.bias"].canonical == "head/beta"
    assert layout["_fc.weight"] == ("softmax/weights", (1, 0))
