"""Timing: warm-up, then rounds in which every case takes one sample, so that drift of the machine hits all alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from numpy.typing import NDArray

from bench.outputs import describe
from pool3.commands.output import Report
from pool3.nvml import Usage, Watch
from pool3.telemetry import BLOG_IMAGES_PER_SECOND


class Work(NamedTuple):
    """A case that is ready to run.

    Attributes:
        call: what is timed; it returns the sample where it takes it itself (leaving its own start-up out), else None.
        output: what it computes, once, for a comparison; None where it computes nothing.
        precision: that the output is computed in.
    """

    call: Callable[[], float | None]
    output: Callable[[], NDArray[Any]] | None = None
    precision: str = "float32"


@dataclass(frozen=True, slots=True)
class Case:
    """Something to time.

    Attributes:
        name: in the table and the JSON.
        unit: what is counted, such as images or rows.
        count: units that one call works through.
        setup: prepares the case.
        limit: name of the case that does the bare minimum of the same work; empty: none.
        limit_units: units of that case that one of this one comes to: 0.1 where it needs a tenth of the operations.
        quantity: what a sample is: ``seconds``, or peak ``bytes`` of memory.
        about: what is measured, in a line.
        default: whether it runs without being named.
        most: samples at most, where they are dear and alike; 0: as many as are asked for.
    """

    name: str
    unit: str
    count: int
    setup: Callable[[], Work]
    limit: str = ""
    quantity: str = "seconds"
    about: str = ""
    default: bool = True
    most: int = 0
    limit_units: float = 1.0


@dataclass(slots=True)
class Result:
    """The samples of one case.

    Attributes:
        name: the case's.
        unit: what is counted.
        count: units a sample.
        first_seconds: the first, untimed call: tracing and compilation are in here, or in the set-up.
        limit: the case's.
        samples: seconds, one a round; bytes where that is the case's quantity.
        quantity: the case's.
        output: see `bench.outputs.describe`; None where nothing is computed.
        usages: what NVML told of each sample; empty without a GPU.
        setup_seconds: making the data, the network and whatever else is there before the first call.
        limit_units: the case's.
    """

    name: str
    unit: str
    count: int
    first_seconds: float
    limit: str = ""
    samples: list[float] = field(default_factory=list)
    quantity: str = "seconds"
    output: dict[str, Any] | None = None
    usages: list[Usage] = field(default_factory=list)
    setup_seconds: float = 0.0
    limit_units: float = 1.0

    @property
    def rates(self) -> list[float]:
        """Units a second, one a sample, ascending; of bytes the bytes themselves."""
        if self.quantity == "bytes":
            return sorted(self.samples)
        return sorted(self.count / seconds for seconds in self.samples)

    @property
    def median(self) -> float:
        """Median of the rates."""
        return statistics.median(self.rates)

    def percentile(self, p: int) -> float:
        """The p-th percentile of the rates, by linear interpolation."""
        if len(self.rates) == 1:
            return self.rates[0]
        return statistics.quantiles(self.rates, n=100, method="inclusive")[p - 1]

    def to_dict(self, medians: Mapping[str, float], loop: str) -> dict[str, Any]:
        """JSON-able form; the blog's ratios only where images are counted, or rows, of which each is an image's.

        Args:
            medians: of all cases of the run, by name.
            loop: name of the blog's own loop.
        """
        limit, blog_loop = medians.get(self.limit), medians.get(loop)
        images = self.unit in ("images", "rows")
        return {
            "name": self.name,
            "unit": self.unit,
            "count": self.count,
            "quantity": self.quantity,
            "setup_seconds": round(self.setup_seconds, 4),
            "first_seconds": round(self.first_seconds, 4),
            "samples": [round(seconds, 6) for seconds in self.samples],
            "median": round(self.median, 3),
            "p20": round(self.percentile(20), 3),
            "p80": round(self.percentile(80), 3),
            "blog_ratio": round(self.median / BLOG_IMAGES_PER_SECOND, 4) if images else None,
            "limit": self.limit or None,
            "limit_units": self.limit_units,
            "limit_ratio": round(self.median * self.limit_units / limit, 4) if limit else None,
            "blog_loop_ratio": round(self.median / blog_loop, 4) if images and blog_loop else None,
            "output": self.output,
            **self._nvml(),
        }

    def _nvml(self) -> dict[str, Any]:
        """Columns that there are on a GPU alone."""
        if not self.usages:
            return {}
        middle = {
            name: statistics.median(getattr(usage, name) for usage in self.usages)
            for name in ("utilisation", "memory_bytes", "watts", "megahertz", "joules")
        }
        per_joule = {"images_per_joule": self.count / middle["joules"]} if self.unit == "images" else {}
        return {
            "throttled": any(usage.throttled for usage in self.usages),
            "nvml": {name: round(value, 4) for name, value in (middle | per_joule).items()},
        }


def measure(
    cases: Sequence[Case], repeats: int, report: Report, watch: Callable[[], Watch] | None = None
) -> list[Result]:
    """Take `repeats` samples of every case, interleaved; garbage collection is off while a sample is taken.

    Every other round goes backwards, so that no case always follows the same one.

    Args:
        cases: what to measure.
        repeats: samples of each.
        report: progress.
        watch: makes what watches the GPUs during one sample; None where there is none.
    """
    rounds = [min(repeats, case.most or repeats) for case in cases]
    total = len(cases) + sum(rounds)
    done = 0
    calls: list[Callable[[], float | None]] = []
    results: list[Result] = []
    for case in cases:
        report(done, total, f"preparing {case.name}")
        start = time.perf_counter()
        work = case.setup()
        ready = time.perf_counter()
        work.call()
        first = time.perf_counter() - ready
        result = Result(
            case.name,
            case.unit,
            case.count,
            first,
            case.limit,
            quantity=case.quantity,
            setup_seconds=ready - start,
            limit_units=case.limit_units,
        )
        if work.output is not None:
            result.output = describe(work.output(), work.precision)
        calls.append(work.call)
        results.append(result)
        done += 1
    settle()
    for number in range(repeats):
        turns = [
            (call, result) for call, result, most in zip(calls, results, rounds, strict=True) if number < most
        ]
        for call, result in turns if number % 2 == 0 else reversed(turns):
            report(done, total, result.name)
            with nullcontext() if watch is None else watch() as watching:
                result.samples.append(sample(call))
            if watching is not None and watching.usage is not None:
                result.usages.append(watching.usage)
            done += 1
    report(done, total)
    return results


def settle() -> None:
    """Collect garbage, and leave all that is alive now out of later collections: one takes a tenth of a second else."""
    gc.collect()
    gc.freeze()


def sample(call: Callable[[], float | None]) -> float:
    """Seconds of one call, its own sample where it takes it itself; garbage collection is off meanwhile."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        own = call()
        return time.perf_counter() - start if own is None else own
    finally:
        gc.enable()
