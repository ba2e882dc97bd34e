"""Where the time of a run went."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from pool3.store.timing import Timing

BLOG_IMAGES_PER_SECOND = 1 / 0.03
"""The baseline: 0.03 s an image on a Titan X, from the blog post of 2016 that pool3 grew out of."""


@dataclass(slots=True)
class StageClock:
    """Adds up seconds by stage; stages that overlap each count in full.

    Attributes:
        seconds: stage → seconds so far.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    _open: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block's time as `name`'s."""
        self._open[name] = start = time.perf_counter()
        try:
            yield
        finally:
            self._open.pop(name, None)
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Count time that was measured elsewhere."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def so_far(self) -> dict[str, float]:
        """Stage → seconds up to now, stages that are still open among them."""
        now, found = time.perf_counter(), dict(self.seconds)
        for name, start in dict(self._open).items():
            found[name] = found.get(name, 0.0) + now - start
        return found


@dataclass(slots=True)
class Ledger:
    """What a run has spent and not yet written down.

    Attributes:
        clock: the run's stages.
        start: when it began, of `time.perf_counter`.
    """

    clock: StageClock
    start: float
    _told: Timing = field(default_factory=Timing)

    def spent(self) -> Timing:
        """What was spent since the last call, of no images: who asks knows what for."""
        now = Timing(0, time.perf_counter() - self.start, self.clock.so_far())
        before, self._told = self._told, now
        stages = {name: seconds - before.stages.get(name, 0.0) for name, seconds in now.stages.items()}
        return Timing(0, now.seconds - before.seconds, stages)


_WAITING = 0.15
"""Share of a run's steps spent waiting for input from which on a user is told so."""

_READING = 0.7
"""Share of the same time spent reading and hashing from which on that is the reason, and not decoding."""


def advice(stages: Mapping[str, float]) -> str:
    """Say what to change where the device waited for images; empty where it did not.

    Args:
        stages: stage → seconds of a run: ``wait`` and ``forward`` follow one another, ``read`` passes beside them.
    """
    wait, steps = stages.get("wait", 0.0), stages.get("wait", 0.0) + stages.get("forward", 0.0)
    if steps < 1.0 or wait < _WAITING * steps:
        return ""
    waited = f"the network waited for images {wait / steps:.0%} of the time"
    if stages.get("read", 0.0) >= _READING * steps:
        return f"{waited}, for reading them: a quicker disk, or the images in one tar or zip file, would help"
    return f"{waited}, for decoding them: more --workers, or --fast-decode for large JPEGs, would help"


@dataclass(slots=True)
class SteadyRate:
    """Images a second from the first step's end to the last's: start-up and compilation left out."""

    _first: float = 0.0
    _last: float = 0.0
    _images: int = 0
    _steps: int = 0

    def step(self, images: int) -> None:
        """Note that a step over so many images has ended now."""
        self._last = time.perf_counter()
        if self._steps:
            self._images += images
        else:
            self._first = self._last
        self._steps += 1

    def images_per_second(self) -> float | None:
        """The rate; None before the second step's end."""
        return self._images / (self._last - self._first) if self._steps > 1 else None
