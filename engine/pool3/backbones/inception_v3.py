"""Inception-v3, the graph of 2015-12-05 and Keras' ImageNet variant: one table of modules, one forward function.

Sources: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (arXiv:1512.00567), and the
graph ``classify_image_graph_def.pb`` itself, whose scopes name the layers and the features here. The two variants
share every convolution; they differ in the pool of ``mixed_10``, the classes, gamma and the preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

from pool3.backbones.base import Backbone, Contract, ConvLayer, Network, Preprocessing, Tensors, class_scores
from pool3.backbones.ops import Ops
from pool3_kernels.bands import Padding, Window, Zeros, in_bands


@dataclass(frozen=True, slots=True)
class Conv:
    """Convolution, batch norm, ReLU: kernel (kh, kw), output channels, stride, padding."""

    kh: int
    kw: int
    out: int
    stride: int = 1
    padding: Padding = "SAME"


@dataclass(frozen=True, slots=True)
class Pool:
    """A 3×3 pool. Average pools leave the padding out of the mean, as TensorFlow's do."""

    kind: Literal["avg", "max"]
    stride: int = 1
    padding: Padding = "SAME"


@dataclass(frozen=True, slots=True)
class Fork:
    """Two convolutions over the same input, concatenated (the end of a branch in ``mixed_9`` and ``mixed_10``)."""

    arms: tuple[Conv, Conv]


Step = Conv | Pool | Fork


@dataclass(frozen=True, slots=True)
class Module:
    """An Inception module: branches over one input, concatenated in this order; keys are their scopes."""

    name: str
    branches: tuple[tuple[str, tuple[Step, ...]], ...]


MOST_BANDS = 4
"""Of the stem: its result has 35 rows, and the narrower a band, the more of its neighbours' rows it computes too."""

_SHRINK = Pool("max", 2, "VALID")


def _module_35(name: str, pool_out: int) -> Module:
    return Module(name, (
        ("", (Conv(1, 1, 64),)),
        ("tower", (Conv(1, 1, 48), Conv(5, 5, 64))),
        ("tower_1", (Conv(1, 1, 64), Conv(3, 3, 96), Conv(3, 3, 96))),
        ("tower_2", (Pool("avg"), Conv(1, 1, pool_out))),
    ))  # fmt: skip


def _module_17(name: str, mid: int) -> Module:
    return Module(name, (
        ("", (Conv(1, 1, 192),)),
        ("tower", (Conv(1, 1, mid), Conv(1, 7, mid), Conv(7, 1, 192))),
        ("tower_1", (Conv(1, 1, mid), Conv(7, 1, mid), Conv(1, 7, mid), Conv(7, 1, mid), Conv(1, 7, 192))),
        ("tower_2", (Pool("avg"), Conv(1, 1, 192))),
    ))  # fmt: skip


def _module_8(name: str, pool: Literal["avg", "max"]) -> Module:
    fork = Fork((Conv(1, 3, 384), Conv(3, 1, 384)))
    return Module(name, (
        ("", (Conv(1, 1, 320),)),
        ("tower", (Conv(1, 1, 384), fork)),
        ("tower_1", (Conv(1, 1, 448), Conv(3, 3, 384), fork)),
        ("tower_2", (Pool(pool), Conv(1, 1, 192))),
    ))  # fmt: skip


_STEM = Module("", ((
    "", (
        Conv(3, 3, 32, 2, "VALID"),  # 149 × 149 × 32
        Conv(3, 3, 32, 1, "VALID"),  # 147 × 147 × 32
        Conv(3, 3, 64),              # 147 × 147 × 64
        _SHRINK,                     #  73 ×  73 × 64, feature pool
        Conv(1, 1, 80, 1, "VALID"),  #  73 ×  73 × 80
        Conv(3, 3, 192, 1, "VALID"), #  71 ×  71 × 192
        _SHRINK,                     #  35 ×  35 × 192, feature pool_1
    ),
),))  # fmt: skip


def _modules(last_pool: Literal["avg", "max"]) -> tuple[Module, ...]:
    return (
        _module_35("mixed", 32),     # 35 × 35 × 256
        _module_35("mixed_1", 64),   # 35 × 35 × 288
        _module_35("mixed_2", 64),   # 35 × 35 × 288
        Module("mixed_3", (          # 17 × 17 × 768
            ("", (Conv(3, 3, 384, 2, "VALID"),)),
            ("tower", (Conv(1, 1, 64), Conv(3, 3, 96), Conv(3, 3, 96, 2, "VALID"))),
            ("", (_SHRINK,)),
        )),
        _module_17("mixed_4", 128),  # 17 × 17 × 768
        _module_17("mixed_5", 160),  # 17 × 17 × 768
        _module_17("mixed_6", 160),  # 17 × 17 × 768
        _module_17("mixed_7", 192),  # 17 × 17 × 768
        Module("mixed_8", (          # 8 × 8 × 1280
            ("tower", (Conv(1, 1, 192), Conv(3, 3, 320, 2, "VALID"))),
            ("tower_1", (Conv(1, 1, 192), Conv(1, 7, 192), Conv(7, 1, 192), Conv(3, 3, 192, 2, "VALID"))),
            ("", (_SHRINK,)),
        )),
        _module_8("mixed_9", "avg"),       # 8 × 8 × 2048
        _module_8("mixed_10", last_pool),  # 8 × 8 × 2048
    )  # fmt: skip


def _scopes(*parts: str) -> Iterator[str]:
    """Scopes of a branch's convolutions as TensorFlow made them unique: conv, conv_1, conv_2 …"""
    prefix = "/".join(part for part in parts if part)
    prefix = f"{prefix}/" if prefix else ""
    yield f"{prefix}conv"
    count = 1
    while True:
        yield f"{prefix}conv_{count}"
        count += 1


def _layers(modules: tuple[Module, ...], *, gamma: bool) -> tuple[ConvLayer, ...]:
    """All convolutions in order, with the input channels that follow from what stands before them."""
    layers: list[ConvLayer] = []

    def add(scope: str, conv: Conv, channels: int) -> int:
        shape = (conv.kh, conv.kw, channels, conv.out)
        layers.append(ConvLayer(scope, shape, conv.stride, conv.padding, gamma=gamma))
        return conv.out

    channels = 3
    for module in modules:
        total = 0
        for branch, steps in module.branches:
            here = channels
            scopes = _scopes(module.name, branch)
            for step in steps:
                if isinstance(step, Conv):
                    here = add(next(scopes), step, here)
                elif isinstance(step, Fork):
                    arms = _scopes(module.name, branch, "mixed")
                    here = sum(add(next(arms), arm, here) for arm in step.arms)
            total += here
        channels = total
    return tuple(layers)


_FEATURES = {
    "pool": (73, 73, 64),
    "pool_1": (35, 35, 192),
    "mixed": (35, 35, 256),
    "mixed_1": (35, 35, 288),
    "mixed_2": (35, 35, 288),
    **{f"mixed_{n}": (17, 17, 768) for n in range(3, 8)},
    "mixed_8": (8, 8, 1280),
    "mixed_9": (8, 8, 2048),
    "mixed_10": (8, 8, 2048),
    "pool_3": (2048,),
}


class InceptionV3(Backbone):
    """Inception-v3 from its table; `INCEPTION_V3` and `INCEPTION_V3_KERAS` are its two instances."""

    main_feature = "pool_3"
    contracts = MappingProxyType(
        # Seeded weights: those of 2015 could not be had where this was measured.
        {"bfloat16": Contract(0.996537, 0.3, 2000, "random:0", "CIFAR-10 as JPEG, 1,000 and 1,000")}
    )
    batch_norm_epsilon = 0.001

    def __init__(
        self,
        name: str,
        *,
        last_pool: Literal["avg", "max"],
        classes: int,
        gamma: bool,
        preprocessing: Preprocessing,
    ) -> None:
        self.name = name
        self.preprocessing = preprocessing
        self.modules = (_STEM, *_modules(last_pool))
        self.layers = _layers(self.modules, gamma=gamma)
        self.dense = MappingProxyType({"softmax/weights": (2048, classes), "softmax/biases": (classes,)})
        self.features = MappingProxyType({**_FEATURES, "logits": (classes,), "softmax": (classes,)})

    def build(
        self,
        tensors: Tensors,
        features: tuple[str, ...],
        precision: str = "float32",
        *,
        variables: bool = False,
        lanes: int = 1,
    ) -> Network:
        """Fold batch norm, then return the forward function; see `Backbone.build`."""
        import tensorflow as tf

        from pool3_kernels.swap import conv_pool

        ops = Ops(precision, self.folded(tensors), variables=variables)

        def conv(
            scope: str, step: Conv, x: Any, zeros: Zeros | None = None, *, pool_before: Pool | None = None
        ) -> Any:
            def linear(y: Any) -> Any:
                return ops.conv(y, scope, step.stride, step.padding if zeros is None else zeros)

            if pool_before is None:
                return tf.nn.relu(linear(x))
            return tf.nn.relu(conv_pool(x, linear, lambda y: pool(pool_before, y)))

        def pool(step: Pool, x: Any) -> Any:
            op = ops.average_pool if step.kind == "avg" else ops.max_pool
            return op(x, 3, step.stride, step.padding)

        def enter(pixels: Any) -> Any:
            return ops.enter(self.normalised(pixels))

        def network(pixels: Any) -> dict[str, Any]:
            found: dict[str, Any] = {}
            modules = self.modules
            if lanes > 1 and "pool" not in features:
                # Normalised band by band: TensorFlow's optimizer may put that into the convolution which follows it.
                chain = [Window((1, 1), 1, "VALID", lambda x, _: enter(x)), *_windows(_STEM, conv, pool)]
                found["pool_1"] = x = in_bands(pixels, chain, min(lanes, MOST_BANDS))
                modules = modules[1:]
            else:
                x = enter(pixels)
            for module in modules:
                x = _forward(module, x, conv, pool, found, lanes)
            pooled = ops.mean(x)
            named = {name: ops.leave(value) for name, value in found.items() if name in features}
            named["pool_3"] = pooled
            if {"logits", "softmax"} & set(features):
                named |= class_scores(pooled, tensors)
            return {name: named[name] for name in features}

        return network


def _windows(stem: Module, conv: Callable[..., Any], pool: Callable[[Pool, Any], Any]) -> list[Window]:
    """The stem's operations as `in_bands` takes them; see `_forward` for the arguments."""
    ((branch, steps),) = stem.branches
    scopes = _scopes(stem.name, branch)
    windows = []

    def pooled(step: Pool, x: Any, _: Zeros) -> Any:
        return pool(step, x)

    for step in steps:
        if isinstance(step, Conv):
            run = partial(conv, next(scopes), step)
            windows.append(Window((step.kh, step.kw), step.stride, step.padding, run))
        elif isinstance(step, Pool):
            # Without padding, as all of the stem's are.
            windows.append(Window((3, 3), step.stride, "VALID", partial(pooled, step)))
    return windows


def _forward(
    module: Module,
    x: Any,
    conv: Callable[..., Any],
    pool: Callable[[Pool, Any], Any],
    found: dict[str, Any],
    lanes: int,
) -> Any:
    """Run one module over `x`; put its named features into `found` and return its output.

    Args:
        module: the module.
        x: its input.
        conv: (scope, `Conv`, input, zeros or None, average pool to put before it or None) → output with its ReLU.
        pool: (`Pool`, input) → output.
        found: see above.
        lanes: see `Backbone.build`. TensorFlow starts branches in an order of its own, and a long one last leaves all
            threads but one idle at a module's end: so the branches of a lane wait for each other.
    """
    import tensorflow as tf

    outputs: dict[int, list[Any]] = {}
    for lane in _dealt(module, x.shape[3], lanes):
        done: list[Any] = []
        for number in lane:
            with tf.control_dependencies(done):
                here = tf.identity(x) if done else x
            branch, steps = module.branches[number]
            outputs[number] = _branch(module, branch, steps, here, conv, pool, found)
            done = outputs[number][-1:]
    parts = [part for number in sorted(outputs) for part in outputs[number]]
    joined = tf.concat(parts, axis=3) if len(parts) > 1 else parts[0]
    if module.name:
        found[module.name] = joined
    return joined


def _branch(
    module: Module,
    branch: str,
    steps: tuple[Step, ...],
    x: Any,
    conv: Callable[..., Any],
    pool: Callable[[Pool, Any], Any],
    found: dict[str, Any],
) -> list[Any]:
    """Run one branch; return what it adds to the module's output, in order. See `_forward` for the arguments."""
    outputs = []
    scopes = _scopes(module.name, branch)
    waiting: Pool | None = None
    for step in steps:
        if isinstance(step, Conv):
            x = conv(next(scopes), step, x, pool_before=waiting)
            waiting = None
        elif isinstance(step, Pool) and step.kind == "avg":
            # Always before a 1×1 convolution in this network, which takes it along.
            waiting = step
        elif isinstance(step, Pool):
            x = pool(step, x)
            if module is _STEM:
                found["pool_1" if "pool" in found else "pool"] = x
        else:
            # The last of its branch: its arms are concatenated once, with the other branches.
            arms = _scopes(module.name, branch, "mixed")
            *outputs, x = (conv(next(arms), arm, x) for arm in step.arms)
    return [*outputs, x]


def _dealt(module: Module, channels: int, lanes: int) -> list[list[int]]:
    """Deal the numbers of a module's branches out to lanes, the longest first, each to the lane that has least.

    One lane alone says nothing of what is side by side: then each branch has its own.
    """
    numbers = range(len(module.branches))
    if lanes == 1:
        return [[number] for number in numbers]
    work = [_multiplications(steps, channels) for _, steps in module.branches]
    dealt: list[list[int]] = [[] for _ in numbers[:lanes]]
    for number in sorted(numbers, key=work.__getitem__, reverse=True):
        min(dealt, key=lambda lane: sum(work[other] for other in lane)).append(number)
    return dealt


def _multiplications(steps: tuple[Step, ...], channels: int) -> int:
    """Multiplications of a branch for each pixel of its input; pools count for nothing."""
    total = 0
    area = 1  # pixels of the input for one of what is there now
    for step in steps:
        for conv in step.arms if isinstance(step, Fork) else (step,):
            area *= conv.stride**2
            if isinstance(conv, Conv):
                total += conv.kh * conv.kw * channels * conv.out // area
        if isinstance(step, Conv):
            channels = step.out
    return total


INCEPTION_V3 = InceptionV3(
    "inception_v3",
    last_pool="max",
    classes=1008,
    gamma=True,
    preprocessing=Preprocessing("tf1-bilinear", 299, 128.0, 0.0078125),
)
"""The network of the graph of 2015-12-05: legacy bilinear resize and (x − 128) / 128 as in that graph."""

INCEPTION_V3_KERAS = InceptionV3(
    "inception_v3_keras",
    last_pool="avg",
    classes=1000,
    gamma=False,
    preprocessing=Preprocessing("bilinear", 299, 127.5, 1 / 127.5),
)
"""`keras.applications.InceptionV3`: x / 127.5 − 1; bilinear as `tf.image.resize` does it by default."""
