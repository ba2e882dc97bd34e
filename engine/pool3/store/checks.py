"""What a verification says: one check after the other, each with what was found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

SHOWN = 5
"""Ids, rows and the like that a detail names; of more it gives the count."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what, in a word.
        ok: whether it is as it should be.
        detail: what was found, in one line: all that is wrong where it is not.
    """

    name: str
    ok: bool
    detail: str

    @classmethod
    def of(cls, name: str, problems: Sequence[str], fine: str) -> Check:
        """Make one that holds where there are no problems; `fine` is its detail then."""
        return cls(name, not problems, "; ".join(problems) or fine)


def listed(items: Iterable[object], count: int) -> str:
    """The first `SHOWN` of `items`, and how many more there are of `count` in all."""
    first = ", ".join(map(str, islice(items, SHOWN)))
    return f"{first} and {count - SHOWN:,} more" if count > SHOWN else first
