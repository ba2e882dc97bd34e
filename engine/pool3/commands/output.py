"""How commands speak: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from pool3.texts import printable as printable

PLAIN_SECONDS = 10.0
"""Between two progress lines where stderr is no terminal, so that a log stays readable."""


class Report(Protocol):
    """A progress display's input: done, total (None: unknown), and a remark to show beside them."""

    def __call__(self, done: int, total: int | None, remark: str = "") -> None:
        """Show how far a task has come."""


def note(message: str) -> None:
    """Print a message for people to stderr."""
    print(f"pool3: {message}", file=sys.stderr, flush=True)


def counted(count: int, noun: str) -> str:
    """A count and its noun: ``1 row``, ``2,000 rows``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def print_json(result: dict[str, Any]) -> None:
    """Print one JSON object to stdout."""
    print(json.dumps(result, ensure_ascii=False))


def print_aligned(rows: Mapping[str, str]) -> None:
    """Print names and values in two columns, empty values left out; never wrapped, so that a pipe can search."""
    width = max(map(len, rows))
    for name, value in rows.items():
        if value:
            print(f"{name:<{width}}  {value}")


def print_table(names: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> None:
    """Print rows under their columns' names, the first `left` columns flush left, the others right; unwrapped."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in (names, *rows):
        cells = [
            f"{cell:<{width}}" if place < left else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def make_folder(folder: Path) -> None:
    """Make an output folder and those above it.

    Raises:
        StoreError: it cannot be made.
    """
    from pool3.errors import StoreError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the folder {folder} cannot be made ({error.strerror}); name another") from error


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Show Python's warnings as notes; their own form shows a line of source, which says nothing to a user."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: note(str(message))
        yield


@contextmanager
def progress(task: str, unit: str = "images") -> Iterator[Report]:
    """Show progress on stderr: a bar on a terminal, a line every few seconds elsewhere."""
    if sys.stderr.isatty():
        with _bar(task, unit) as report:
            yield report
    else:
        yield _lines(task, unit)


@contextmanager
def _bar(task: str, unit: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    start, began = 0.0, 0
    with ExitStack() as stack:
        display: Progress | None = None

        def report(done: int, total: int | None, remark: str = "") -> None:
            nonlocal start, began, display
            if display is None:  # a task that has nothing to report shows no bar
                display = stack.enter_context(Progress(*columns, console=Console(stderr=True)))
                display.add_task(task, total=total or done, rate="", remark="")
                start, began = time.perf_counter(), done
            seconds = time.perf_counter() - start
            rate = f"{(done - began) / seconds:,.0f}/s" if seconds > 1 and done > began else ""
            display.update(TaskID(0), completed=done, total=total or done, rate=rate, remark=remark)

        yield report


def _lines(task: str, unit: str) -> Report:
    last = time.perf_counter()

    def report(done: int, total: int | None, remark: str = "") -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= PLAIN_SECONDS:
            last = now
            of = "" if total is None else f" of {total:,}"
            note(f"{task}: {done:,}{of} {unit}{f' ({remark})' if remark else ''}")

    return report
