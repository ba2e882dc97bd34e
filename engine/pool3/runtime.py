"""Puts a network on a device: which one, at what precision, compiled for one static shape."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pool3 import nvml
from pool3.backbones import Backbone, Tensors
from pool3.errors import DeviceError, ExtractionError

_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")

_TENSOR_CORES = (7, 0)
"""The first compute capability with tensor cores, Volta's."""

STREAMS = 2
"""Batches that a network runs at a time, see `in_streams`; a third gained nothing."""


@contextmanager
def quiet_start() -> Iterator[None]:
    """Hold back what TensorFlow's C++ code prints to stderr while it loads; print it after all on an exception.

    Those lines come before any log level takes effect. ``TF_CPP_MIN_LOG_LEVEL`` set by the user leaves them alone.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)


def start_tensorflow() -> None:
    """Import TensorFlow and let it look for devices, quietly: what the command line does before the rest."""
    with quiet_start():
        import tensorflow as tf

        # The first look for devices is what makes its C++ code talk.
        tf.config.list_physical_devices()
        # Several networks in one process are several traces on purpose; TensorFlow would warn of each.
        tf.get_logger().setLevel("ERROR")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a network runs.

    Attributes:
        device: TensorFlow's name, such as ``/GPU:0``.
        description: for people and for the feature file, such as ``GPU:0 (NVIDIA H200)``.
        warning: what the user should know about the choice; empty where there is nothing.
    """

    device: str
    description: str
    warning: str = ""


def why_no_gpu() -> str:
    """Say why TensorFlow has no GPU, in a clause: no GPU, no CUDA libraries, or a build without CUDA."""
    import tensorflow as tf

    seen = nvml.query()
    if not seen.gpus:
        return f"no NVIDIA GPU was found ({seen.reason})"
    names = ", ".join(gpu.name for gpu in seen.gpus)
    if not tf.test.is_built_with_cuda():
        return f"NVML sees {names}, but this TensorFlow was built without CUDA"
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return f"NVML sees {names}, but CUDA_VISIBLE_DEVICES hides it"
    return (
        f"NVML sees {names} (driver {seen.driver}), but TensorFlow does not: its CUDA libraries are missing "
        "(pip install 'pool3[gpu]') or do not fit the driver (TF_CPP_MIN_LOG_LEVEL=0 pool3 doctor shows its own words)"
    )


def choose_device(devices: str) -> Placement:
    """Choose the device for ``--devices`` and set TensorFlow up for it: memory growth on, TF32 off.

    Args:
        devices: ``auto``, ``cpu``, ``gpu`` or ``gpu:N``, N counting the GPUs that TensorFlow sees.

    Raises:
        DeviceError: a GPU was asked for that TensorFlow cannot use; the message says why.
    """
    import tensorflow as tf

    # Float32 means float32: TensorFloat-32 would keep 10 bits of the mantissa.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    cpu = Placement("/CPU:0", f"CPU ({cpu_model()})")
    if devices == "cpu":
        return cpu
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        reason = why_no_gpu()
        if devices != "auto":
            raise DeviceError(f"--devices {devices}: {reason}; use --devices cpu to run without a GPU.")
        warning = f"running on the CPU: {reason}." if nvml.query().gpus else ""
        return Placement(cpu.device, cpu.description, warning)
    number = int(devices.partition(":")[2] or 0)
    if number >= len(gpus):
        raise DeviceError(f"--devices {devices}: TensorFlow sees {len(gpus)} GPU(s), numbered from 0.")
    if not tf.config.experimental.get_memory_growth(gpus[number]):
        try:
            for gpu in gpus:
                tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError as error:
            raise DeviceError(
                f"--devices {devices}: TensorFlow has used the GPU already, and holds all of its memory; "
                "make the Extractor before any other work with TensorFlow."
            ) from error
    name = tf.config.experimental.get_device_details(gpus[number]).get("device_name", "NVIDIA GPU")
    return Placement(f"/GPU:{number}", f"GPU:{number} ({name})")


def cpu_model() -> str:
    """The processor's name, as the kernel gives it."""
    import platform

    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - /proc is no ordinary folder
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()


def cpu_flags() -> list[str]:
    """Which of the instruction sets that matter here the processor has; empty where the kernel does not say."""
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return []
    return [flag for flag in _CPU_FLAGS if flag in words]


def choose_precision(placement: Placement) -> tuple[str, str]:
    """Choose the precision that is quickest on a device, and say why.

    Returns:
        One of `pool3.spec.PRECISIONS`, and the reason in a clause.
    """
    if placement.device.startswith("/GPU"):
        import tensorflow as tf

        number = int(placement.device.rpartition(":")[2])
        gpu = tf.config.list_physical_devices("GPU")[number]
        capability = tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        if capability >= _TENSOR_CORES:
            return "float16", f"compute capability {capability[0]}.{capability[1]} has tensor cores"
        return "float32", "the GPU has no tensor cores"
    found = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in cpu_flags()]
    if found:
        return "bfloat16", f"the processor has {' and '.join(found).upper()}"
    return "float32", "the processor has neither AVX512_BF16 nor AMX"


class Runner:
    """A network on a device, compiled for one static shape; several threads may call it at once.

    Attributes:
        route: how images reach the network: ``device`` (uint8 of one size, resized on the device) or ``host``
            (float32, resized image by image in the `tf.data` graph).
        input_spec: shape and dtype of a batch.
        precision: dtype of the convolutions.
    """

    def __init__(
        self,
        backbone: Backbone,
        tensors: Tensors,
        feature: str,
        placement: Placement,
        *,
        batch_size: int,
        image_shape: tuple[int, int] | None,
        precision: str = "float32",
    ) -> None:
        import tensorflow as tf

        from pool3_kernels.resize import resize_bilinear

        self.precision = precision
        self._placement = placement
        self._width = int(np.prod(backbone.features[feature]))
        self._batch_size = batch_size
        p = backbone.preprocessing
        half_pixel = p.resize == "bilinear"
        network = backbone.build(tensors, (feature,), precision)
        if image_shape is None:
            self.route = "host"
            self.input_spec = tf.TensorSpec((batch_size, p.size, p.size, 3), tf.float32)
        else:
            self.route = "device"
            self.input_spec = tf.TensorSpec((batch_size, *image_shape, 3), tf.uint8)

        def forward(batch: Any) -> Any:
            if image_shape is not None:
                # Cast first, which is exact: TensorFlow has no GPU kernel that resizes uint8.
                batch = resize_bilinear(tf.cast(batch, tf.float32), p.size, half_pixel=half_pixel)
            return tf.reshape(network(batch)[feature], (batch_size, self._width))

        self._forward: Any = tf.function(forward, input_signature=[self.input_spec])

    def compile(self) -> None:
        """Trace and run once on zeros, so that the first real batch is as quick as the next."""
        self(np.zeros(self.input_spec.shape, self.input_spec.dtype.as_numpy_dtype))

    def convolutions(self) -> Counter[str]:
        """Dtype → count of the convolutions in the graph that the network was traced to."""
        graph = self._forward.get_concrete_function().graph
        kinds = ("Conv2D", "DepthwiseConv2dNative")
        return Counter(op.outputs[0].dtype.name for op in graph.get_operations() if op.type in kinds)

    def __call__(self, batch: Any) -> NDArray[np.float32]:
        """Run one batch of the shape and dtype of `input_spec`.

        Returns:
            (batch_size, D) float32 on the host, one flattened feature a row.

        Raises:
            ExtractionError: the batch does not fit into the device's memory.
        """
        import tensorflow as tf

        try:
            with tf.device(self._placement.device):
                features: NDArray[np.float32] = self._forward(batch).numpy()
        except tf.errors.ResourceExhaustedError as error:
            raise ExtractionError(
                f"a batch of {self._batch_size} does not fit into the memory of {self._placement.description}; "
                "what was committed is kept: run again with a smaller --batch-size and --overwrite"
            ) from error
        return features


class Images(Protocol):
    """What `in_streams` needs of a batch."""

    @property
    def images(self) -> Any:
        """What the network takes."""


B = TypeVar("B", bound=Images)


def in_streams(
    runner: Callable[[Any], NDArray[np.float32]], batches: Iterator[B], streams: int
) -> Generator[tuple[B, NDArray[np.float32]], None, None]:
    """Run batches on several threads at once and yield each with its features, in the order given.

    One network alone leaves cores idle where a layer is too small for all of them, and between two batches; another
    batch fills these gaps. (Two streams against one on two cores of Zen 4: 35.6 against 32.5 images/s in bfloat16.)

    Args:
        runner: from a batch's images to its features.
        batches: what to run; taken as threads become free, and one more.
        streams: how many run at a time.
    """
    with ThreadPoolExecutor(streams, "pool3-stream") as pool:
        running: deque[tuple[B, Future[NDArray[np.float32]]]] = deque()
        try:
            for batch in batches:
                running.append((batch, pool.submit(runner, batch.images)))
                if len(running) > streams:
                    yield _finished(running)
            while running:
                yield _finished(running)
        finally:
            for _, future in running:
                future.cancel()


def _finished(running: deque[tuple[B, Future[NDArray[np.float32]]]]) -> tuple[B, NDArray[np.float32]]:
    batch, future = running.popleft()
    return batch, future.result()
