"""The choice of the devices that run a network, and of the precision that is quickest on them."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pool3 import nvml
from pool3.errors import DeviceError

_CPU_FLAGS = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx_vnni", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "amx_fp16", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve",
)  # fmt: skip

_TENSOR_CORES = (7, 0)
"""The first compute capability with tensor cores, Volta's."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a network runs: one replica a device.

    Attributes:
        devices: TensorFlow's names, such as ``/GPU:0``; all of one kind and one model.
        description: for people and for the feature file, such as ``GPU:0,1 (NVIDIA H200)``.
        warning: what the user should know about the choice; empty where there is nothing.
        memory_bytes: memory of each device; None where it is not known, and for a CPU.
    """

    devices: tuple[str, ...]
    description: str
    warning: str = ""
    memory_bytes: int | None = None

    @property
    def model(self) -> str:
        """Product name of the devices."""
        return self.description.partition("(")[2].rstrip(")")

    @property
    def on_gpu(self) -> bool:
        """Whether the devices are GPUs."""
        return self.devices[0].startswith("/GPU")


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


def choose_devices(devices: str) -> Placement:
    """Choose the devices for ``--devices`` and set TensorFlow up for them: memory growth on, TF32 off.

    ``auto`` and ``gpu`` take every GPU that is of the first one's model: a row's numbers must not depend on which
    device computed it, and another model's kernels round otherwise.

    Args:
        devices: ``auto``, ``cpu``, ``gpu``, ``gpu:0,1…`` in TensorFlow's numbering, or ``cpu:0,1…``, which splits the
            processor into logical devices: no quicker, but it shows what several devices do where there is no GPU.

    Raises:
        DeviceError: a device was asked for that TensorFlow cannot use; the message says why.
    """
    import tensorflow as tf

    # Float32 means float32: TensorFloat-32 would keep 10 bits of the mantissa.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    kind, _, listed = devices.partition(":")
    numbers = [int(number) for number in listed.split(",")] if listed else []
    if kind == "cpu":
        return _cpus(devices, numbers or [0])
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return _gpus(devices, gpus, numbers)
    reason = why_no_gpu()
    if kind != "auto":
        raise DeviceError(f"--devices {devices}: {reason}; use --devices cpu to run without a GPU.")
    warning = f"running on the CPU: {reason}." if nvml.query().gpus else ""
    return Placement(("/CPU:0",), f"CPU ({cpu_model()})", warning)


def _cpus(asked: str, numbers: Sequence[int]) -> Placement:
    import tensorflow as tf

    name = "CPU"
    if len(numbers) > 1 or numbers[0] > 0:
        name = f"CPU:{','.join(map(str, numbers))}"
        physical = tf.config.list_physical_devices("CPU")[0]
        if len(tf.config.get_logical_device_configuration(physical) or [None]) <= max(numbers):
            parts = [tf.config.LogicalDeviceConfiguration() for _ in range(max(numbers) + 1)]
            try:
                tf.config.set_logical_device_configuration(physical, parts)
            except RuntimeError as error:
                raise DeviceError(
                    f"--devices {asked}: TensorFlow runs already and has not so many logical devices; "
                    "make the Extractor before any other work with TensorFlow."
                ) from error
    return Placement(tuple(f"/CPU:{number}" for number in numbers), f"{name} ({cpu_model()})")


def _gpus(asked: str, gpus: Sequence[Any], numbers: Sequence[int]) -> Placement:
    import tensorflow as tf

    if numbers and max(numbers) >= len(gpus):
        raise DeviceError(f"--devices {asked}: TensorFlow sees {len(gpus)} GPU(s), numbered from 0.")
    models = [_gpu_detail(gpu, "device_name", "NVIDIA GPU") for gpu in gpus]
    warning = ""
    if not numbers:
        numbers = [n for n, model in enumerate(models) if model == models[0]]
        others = sorted({model for model in models if model != models[0]})
        if others:
            warning = (
                f"running on GPU:{','.join(map(str, numbers))} ({models[0]}) alone, since {', '.join(others)} "
                "would give other last digits; choose by --devices."
            )
    model = models[numbers[0]]
    if any(models[n] != model for n in numbers):
        named = ", ".join(f"GPU:{n} is a {models[n]}" for n in numbers)
        raise DeviceError(
            f"--devices {asked}: {named}; a row's numbers would depend on which one computed it, so name GPUs of "
            "one model, and give the others runs of their own."
        )
    if not all(tf.config.experimental.get_memory_growth(gpus[n]) for n in numbers):
        try:
            for gpu in gpus:
                tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError as error:
            raise DeviceError(
                f"--devices {asked}: TensorFlow has used the GPU already, and holds all of its memory; "
                "make the Extractor before any other work with TensorFlow."
            ) from error
    # By model, since NVML numbers GPUs in another order than CUDA.
    memory = [gpu.memory_bytes for gpu in nvml.query().gpus if gpu.name == model and gpu.memory_bytes]
    return Placement(
        tuple(f"/GPU:{n}" for n in numbers),
        f"GPU:{','.join(map(str, numbers))} ({model})",
        warning,
        min(memory, default=None),
    )


def _gpu_detail(gpu: Any, name: str, default: Any) -> Any:
    import tensorflow as tf

    return tf.config.experimental.get_device_details(gpu).get(name, default)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def step_threads() -> int:
    """Threads that share one operation on the CPU; 0 where TensorFlow chooses, which takes all cores."""
    import tensorflow as tf

    asked = tf.config.threading.get_intra_op_parallelism_threads()
    from_environment = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    return asked or (int(from_environment) if from_environment.isdigit() else 0)


def cpu_model() -> str:
    """The processor's name, as the kernel gives it."""
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
    if placement.on_gpu:
        import tensorflow as tf

        number = int(placement.devices[0].rpartition(":")[2])
        gpu = tf.config.list_physical_devices("GPU")[number]
        capability = _gpu_detail(gpu, "compute_capability", (0, 0))
        if capability >= _TENSOR_CORES:
            return "float16", f"compute capability {capability[0]}.{capability[1]} has tensor cores"
        return "float32", "the GPU has no tensor cores"
    found = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in cpu_flags()]
    if found:
        return "bfloat16", f"the processor has {' and '.join(found).upper()}"
    return "float32", "the processor has neither AVX512_BF16 nor AMX"
