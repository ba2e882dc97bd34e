"""What computed which indices: lists of dictionaries, ``start`` and ``stop`` and the fields of `schema.ENVIRONMENT`.

The entries of a list ascend and do not overlap; neighbours of the same environment are one entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Environments = list[dict[str, Any]]


def spanning(start: int, stop: int, environment: Mapping[str, Any]) -> Environments:
    """One environment for a whole range."""
    return [{"start": start, "stop": stop} | dict(environment)]


def joined(parts: Iterable[Sequence[Mapping[str, Any]]]) -> Environments:
    """The lists of ascending ranges as one."""
    merged: Environments = []
    for part in parts:
        for entry in part:
            last = merged[-1] if merged else None
            if last and dict(entry) == last | {"start": last["stop"], "stop": entry["stop"]}:
                last["stop"] = entry["stop"]
            else:
                merged.append(dict(entry))
    return merged


def clipped(environments: Iterable[Mapping[str, Any]], start: int, stop: int) -> Environments:
    """What a list says of the range [start, stop)."""
    cut = (
        dict(entry) | {"start": max(entry["start"], start), "stop": min(entry["stop"], stop)}
        for entry in environments
    )
    return [entry for entry in cut if entry["start"] < entry["stop"]]


def repainted(
    environments: Iterable[Mapping[str, Any]], indices: Iterable[int], environment: Mapping[str, Any]
) -> Environments:
    """The list after `indices`, ascending, were computed anew in another environment."""
    painted = joined([list(environments)])
    for index in indices:
        before = clipped(painted, 0, index)
        after = clipped(painted, index + 1, max((entry["stop"] for entry in painted), default=0))
        painted = joined([before, spanning(index, index + 1, environment), after])
    return painted
