"""Puts a network on a device: which one, at what precision, compiled for one static shape."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3 import nvml
from pool3.backbones import Backbone, Tensors
from pool3.errors import DeviceError, ExtractionError


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


class Runner:
    """A network on a device, compiled for one static shape.

    Attributes:
        route: how images reach the network: ``device`` (uint8 of one size, resized on the device) or ``host``
            (float32, resized image by image in the `tf.data` graph).
        input_spec: shape and dtype of a batch.
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
    ) -> None:
        import tensorflow as tf

        from pool3_kernels.resize import resize_bilinear

        self._placement = placement
        self._width = int(np.prod(backbone.features[feature]))
        self._batch_size = batch_size
        p = backbone.preprocessing
        half_pixel = p.resize == "bilinear"
        network = backbone.build(tensors, (feature,))
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

        self._forward: Callable[[Any], Any] = tf.function(forward, input_signature=[self.input_spec])

    def compile(self) -> None:
        """Trace and run once on zeros, so that the first real batch is as quick as the next."""
        self(np.zeros(self.input_spec.shape, self.input_spec.dtype.as_numpy_dtype))

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
