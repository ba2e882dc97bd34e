"""What the NVIDIA driver says of the GPUs in this machine, whether or not TensorFlow can use them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as NVML sees it.

    Attributes:
        index: NVML's own, which ignores ``CUDA_VISIBLE_DEVICES``.
        name: product name.
        uuid: stable identifier.
        memory_bytes: total memory; None where the GPU does not say (those that share the host's).
    """

    index: int
    name: str
    uuid: str
    memory_bytes: int | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as a JSON-able dictionary."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Nvml:
    """NVML's answer.

    Attributes:
        gpus: all GPUs of the machine.
        driver: the driver's version; empty where there is none.
        reason: why `gpus` is empty; empty where it is not.
    """

    gpus: tuple[Gpu, ...]
    driver: str
    reason: str


def query() -> Nvml:
    """Ask NVML for the machine's GPUs; without a driver the answer is an empty one that says why."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Nvml((), "", f"NVML: {error}")
    try:
        gpus = []
        memory: int | None
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            try:
                memory = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
            except pynvml.NVMLError:
                memory = None
            name, uuid = pynvml.nvmlDeviceGetName(handle), pynvml.nvmlDeviceGetUUID(handle)
            gpus.append(Gpu(index, str(name), str(uuid), memory))
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        return Nvml(tuple(gpus), driver, "" if gpus else "NVML: the driver reports no GPU")
    except pynvml.NVMLError as error:
        return Nvml((), "", f"NVML: {error}")
    finally:
        pynvml.nvmlShutdown()
