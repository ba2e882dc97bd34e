"""Timing: warm-up, then rounds in which every case takes one sample, so that drift of the machine hits all alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pool3.commands.output import Report
from pool3.telemetry import BLOG_IMAGES_PER_SECOND


@dataclass(frozen=True, slots=True)
class Case:
    """Something to time.

    Attributes:
        name: in the table and the JSON.
        unit: what is counted, such as images or rows.
        count: units that one call works through.
        setup: prepares the case and returns the call to time; the call returns seconds where it times itself
            (leaving its own start-up out), else None.
        limit: name of the case that does the bare minimum of the same work; empty: none.
    """

    name: str
    unit: str
    count: int
    setup: Callable[[], Callable[[], float | None]]
    limit: str = ""


@dataclass(slots=True)
class Result:
    """The samples of one case.

    Attributes:
        name: the case's.
        unit: what is counted.
        count: units a sample.
        first_seconds: set-up and the first, untimed call: tracing and compilation are in here.
        limit: the case's.
        samples: seconds, one a round.
    """

    name: str
    unit: str
    count: int
    first_seconds: float
    limit: str = ""
    samples: list[float] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Units a second, one a sample, ascending."""
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
        """JSON-able form; the blog's ratios only where images are counted, and what the run had to compare with.

        Args:
            medians: of all cases of the run, by name.
            loop: name of the blog's own loop.
        """
        limit, blog_loop = medians.get(self.limit), medians.get(loop)
        images = self.unit == "images"
        return {
            "name": self.name,
            "unit": self.unit,
            "count": self.count,
            "first_seconds": round(self.first_seconds, 4),
            "samples_seconds": [round(seconds, 6) for seconds in self.samples],
            "median_per_second": round(self.median, 3),
            "p20_per_second": round(self.percentile(20), 3),
            "p80_per_second": round(self.percentile(80), 3),
            "blog_ratio": round(self.median / BLOG_IMAGES_PER_SECOND, 4) if images else None,
            "limit": self.limit or None,
            "limit_ratio": round(self.median / limit, 4) if limit else None,
            "blog_loop_ratio": round(self.median / blog_loop, 4) if images and blog_loop else None,
        }


def measure(cases: Sequence[Case], repeats: int, report: Report) -> list[Result]:
    """Take `repeats` samples of every case, interleaved; garbage collection is off while a sample is taken."""
    total = len(cases) * (repeats + 1)
    done = 0
    calls: list[Callable[[], float | None]] = []
    results: list[Result] = []
    for case in cases:
        report(done, total, f"preparing {case.name}")
        start = time.perf_counter()
        call = case.setup()
        call()
        calls.append(call)
        results.append(Result(case.name, case.unit, case.count, time.perf_counter() - start, case.limit))
        done += 1
    for _ in range(repeats):
        for call, result in zip(calls, results, strict=True):
            report(done, total, result.name)
            result.samples.append(sample(call))
            done += 1
    report(done, total)
    return results


def sample(call: Callable[[], float | None]) -> float:
    """Seconds of one call, its own where it times itself; garbage collection is off meanwhile."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        own = call()
        return time.perf_counter() - start if own is None else own
    finally:
        gc.enable()
