"""What the rows of a file took to compute.

Each commit carries what was spent since the one before, so that the sum over what is committed is right however often
a run was interrupted. What a process had spent on work that it lost when it was killed is in no sum, as that work is
in no row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Timing:
    """Time and what it was spent on; the sum of two is that of both.

    Attributes:
        images: images that were worked on, those that were tried again counted once more.
        seconds: wall time, start-up and compilation included.
        stages: stage → seconds; ``read`` and ``write`` pass beside the others.
    """

    images: int = 0
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)

    def __add__(self, other: Timing) -> Timing:
        names = dict.fromkeys([*self.stages, *other.stages])
        stages = {name: self.stages.get(name, 0.0) + other.stages.get(name, 0.0) for name in names}
        return Timing(self.images + other.images, self.seconds + other.seconds, stages)

    def __bool__(self) -> bool:
        """Whether anything was recorded."""
        return bool(self.images)

    @property
    def images_per_second(self) -> float | None:
        """Images by the seconds that the network ran or waited for input; None where neither was recorded.

        Start-up, compilation, the last write and the seal are left out.
        """
        steps = self.stages.get("wait", 0.0) + self.stages.get("forward", 0.0)
        return self.images / steps if steps else None

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, JSON-able, rounded to the microsecond."""
        return {
            "images": self.images,
            "seconds": round(self.seconds, 6),
            "stages": {name: round(seconds, 6) for name, seconds in self.stages.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Undo `to_dict`.

        Raises:
            KeyError: a field is missing.
            TypeError: a field is of another type.
            ValueError: a number is not one.
        """
        stages = {str(name): float(seconds) for name, seconds in dict(values["stages"]).items()}
        found = cls(values["images"], float(values["seconds"]), stages)
        numbers = (found.images, found.seconds, *stages.values())
        if not (isinstance(found.images, int) and all(math.isfinite(number) for number in numbers)):
            raise ValueError(f"no count of images and times in seconds: {values}")
        return found


def summed(timings: Iterable[Timing]) -> Timing:
    """All together; of none, nothing."""
    return reduce(Timing.__add__, timings, Timing())
