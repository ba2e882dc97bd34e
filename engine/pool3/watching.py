"""How long work tells what it does, without knowing who shows it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Report = Callable[[int, int | None], None]
"""Called with what is done, and the total."""

Watch = Callable[[str, str], AbstractContextManager[Report]]
"""Called with a task and its unit when it begins; gives what the task reports to until it ends."""


def unwatched(_task: str, _unit: str) -> AbstractContextManager[Report]:
    """A `Watch` that shows nothing."""
    return nullcontext(lambda _done, _total: None)
