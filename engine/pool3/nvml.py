"""What the NVIDIA driver says of the GPUs in this machine, whether or not TensorFlow can use them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Self


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


@dataclass(frozen=True, slots=True)
class Usage:
    """What GPUs did while they were watched, summed or averaged over them.

    Attributes:
        utilisation: mean share of the time that a kernel ran, 0 to 1.
        memory_bytes: most memory in use at a time, all processes.
        watts: mean power.
        joules: energy.
        megahertz: mean clock of the multiprocessors.
        throttled: whether a clock was ever held down by heat or power.
    """

    utilisation: float
    memory_bytes: int
    watts: float
    joules: float
    megahertz: float
    throttled: bool


_Sample = tuple[float, float, int, float, float, bool]


class Watch:
    """Samples GPUs on a thread of its own while the block runs; `usage` is None where NVML has nothing to say.

    Args:
        name: product name of the GPUs to watch; NVML numbers them in another order than CUDA.
        count: how many of that name, the first in NVML's order.
    """

    INTERVAL_SECONDS = 0.05

    def __init__(self, name: str, count: int) -> None:
        self.usage: Usage | None = None
        self._name, self._count = name, count
        self._samples: list[_Sample] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pool3-nvml", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if len(self._samples) < 2:
            return
        times, shares, memory, watts, clocks, throttled = zip(*self._samples, strict=True)
        # By trapezoids, since not every GPU counts its energy.
        joules = sum(
            (b - a) * (p + q) / 2 for (a, b), (p, q) in zip(pairwise(times), pairwise(watts), strict=True)
        )
        seconds = times[-1] - times[0]
        self.usage = Usage(
            sum(shares) / len(shares),
            max(memory),
            joules / seconds if seconds else watts[-1],
            joules,
            sum(clocks) / len(clocks),
            any(throttled),
        )

    def _run(self) -> None:
        import pynvml

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return
        try:
            every = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
            handles = [h for h in every if str(pynvml.nvmlDeviceGetName(h)) == self._name][: self._count]
            while handles:
                self._samples.append(self._sample(handles))
                if self._ended.wait(self.INTERVAL_SECONDS):
                    self._samples.append(self._sample(handles))
                    return
        except pynvml.NVMLError:
            self._samples.clear()  # a GPU that does not tell all of it: no figure is better than half of one
        finally:
            pynvml.nvmlShutdown()

    @staticmethod
    def _sample(handles: Sequence[Any]) -> _Sample:
        import pynvml

        held_down = (
            pynvml.nvmlClocksThrottleReasonHwSlowdown
            | pynvml.nvmlClocksThrottleReasonSwPowerCap
            | pynvml.nvmlClocksThrottleReasonSwThermalSlowdown
            | pynvml.nvmlClocksThrottleReasonHwThermalSlowdown
        )
        return (
            time.perf_counter(),
            sum(pynvml.nvmlDeviceGetUtilizationRates(h).gpu for h in handles) / 100 / len(handles),
            sum(int(pynvml.nvmlDeviceGetMemoryInfo(h).used) for h in handles),
            sum(pynvml.nvmlDeviceGetPowerUsage(h) for h in handles) / 1000,
            sum(pynvml.nvmlDeviceGetClockInfo(h, pynvml.NVML_CLOCK_SM) for h in handles) / len(handles),
            any(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(h) & held_down for h in handles),
        )
