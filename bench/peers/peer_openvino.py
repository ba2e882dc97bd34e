"""OpenVINO: asynchronous inference at several streams and batch sizes, the quickest kept, and one image at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.peers.contender import (
    SINGLE_IMAGES,
    Contender,
    Features,
    Measure,
    Pixels,
    Setup,
    UnavailableError,
    quickest,
)
from bench.peers.onnx_network import build

STREAMS = ("1", "2", "auto")
BATCHES = (1, 8, 32)


class _Asynchronous:
    """A compiled network that works on as many batches at a time as OpenVINO finds best for the streams."""

    def __init__(self, core: Any, model: Any, precision: str, batch_size: int, streams: str) -> None:
        import openvino as ov  # type: ignore[import-not-found]

        hints: dict[str, Any] = (
            {"PERFORMANCE_HINT": "THROUGHPUT"} if streams == "auto" else {"NUM_STREAMS": streams}
        )
        self._batch_size = batch_size
        compiled = core.compile_model(model, "CPU", hints | {"INFERENCE_PRECISION_HINT": _type(precision)})
        self._queue = ov.AsyncInferQueue(compiled)
        self._queue.set_callback(self._keep)
        self._outputs: list[Features] = []

    def _keep(self, request: Any, index: int) -> None:
        self._outputs[index] = request.get_output_tensor(0).data.copy()

    def close(self) -> None:
        """Let go of the compiled network: the queue holds `_keep`, in a cycle that Python's collector does not see."""
        del self._queue

    def batches(self, pixels: Pixels) -> list[NDArray[np.float32]]:
        """Full batches of the images, repeated where they do not fill the last."""
        count = -len(pixels) // self._batch_size * -self._batch_size
        full = _nchw(np.resize(pixels, (count, *pixels.shape[1:])))
        return np.split(full, count // self._batch_size)

    def run(self, batches: list[NDArray[np.float32]]) -> Features:
        import openvino as ov

        self._outputs = [np.empty(0, np.float32)] * len(batches)
        for index, batch in enumerate(batches):
            self._queue.start_async({0: ov.Tensor(batch, shared_memory=True)}, index)
        self._queue.wait_all()
        return np.concatenate(self._outputs)


def contender(setup: Setup, precision: str) -> Contender:
    """Compile the network at every setting; keep the best, and the one for single images."""
    import openvino as ov

    core = ov.Core()
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bfloat16" and "BF16" not in able:
        raise UnavailableError(f"OpenVINO has no bfloat16 on this processor, only {', '.join(able)}")
    tensors = setup.tensors()
    models = {size: core.read_model(build(tensors, size)) for size in BATCHES}
    pixels = setup.pixels(setup.images)
    networks = {
        f"batch {size}, {streams} streams": _Asynchronous(core, models[size], precision, size, streams)
        for size in BATCHES
        for streams in STREAMS
    }

    def throughput(network: _Asynchronous) -> Measure:
        batches = network.batches(pixels)

        def run() -> None:
            network.run(batches)

        return Measure(len(pixels), run)

    best, medians = quickest({name: throughput(network) for name, network in networks.items()}, setup.trials)
    network = networks.pop(best)
    while networks:
        networks.popitem()[1].close()

    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _type(precision)}
    single = core.compile_model(models[1], "CPU", hints).create_infer_request()
    pixels_one_by_one = np.split(_nchw(setup.pixels(SINGLE_IMAGES)), SINGLE_IMAGES)
    images = [ov.Tensor(image, shared_memory=True) for image in pixels_one_by_one]

    def one_by_one() -> None:
        for image in images:
            single.infer({0: image})

    return Contender(
        {
            f"openvino/forward/{precision}": throughput(network),
            f"openvino/single/{precision}": Measure(SINGLE_IMAGES, one_by_one),
        },
        lambda pixels: network.run(network.batches(pixels))[: len(pixels)],
        {"setting": best, "settings": medians},
    )


def _type(precision: str) -> str:
    return {"float32": "f32", "bfloat16": "bf16"}[precision]


def _nchw(pixels: Pixels) -> NDArray[np.float32]:
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
