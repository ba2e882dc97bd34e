"""Find image files below a folder, in natural order, with a pattern for each path component."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pool3.errors import SourceError
from pool3.sources.naming import escape, natural_key

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".png", ".gif", ".bmp", ".webp")
EVERYTHING = ("**",)


def is_image(name: str) -> bool:
    """Tell by the extension, in any case, whether a file is an image."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder of this name (no path) is hidden."""
    return name.startswith(".") and name not in (".", "..")


@dataclass(frozen=True, slots=True)
class Found:
    """Ids of image files, relative to the folder scanned, and how many other files were passed over."""

    ids: list[str]
    ignored: int


@dataclass(frozen=True, slots=True)
class _Level:
    """One folder on the way from the root to where the scan stands."""

    entries: Iterator[os.DirEntry[str]]
    prefix: str
    states: frozenset[int]
    identity: tuple[int, int]


def scan(root: Path, pattern: Sequence[str] = EVERYTHING) -> Found:
    """List the images below `root` whose path components match `pattern`, depth first, in natural order.

    Files and folders of one folder are ordered together by `natural_key`: so paths compare component by
    component. Hidden files and folders are skipped, unless a component of the pattern begins with a dot
    itself. Links are followed; a folder that is its own ancestor is not entered again. An image that is a
    broken link is listed: that it cannot be read is then recorded, rather than overlooked. Anything that is
    neither file nor folder counts as ignored.

    Args:
        root: an existing folder.
        pattern: one shell pattern a component; ``**`` stands for any number of folders, and at the end also
            for all that is in them.

    Raises:
        SourceError: a folder cannot be read.
    """
    matcher = _Matcher(pattern)
    ids: list[str] = []
    ignored = 0
    levels = [_enter(str(root), "", matcher.start)]
    while levels:
        level = levels[-1]
        entry = next(level.entries, None)
        if entry is None:
            levels.pop()
            continue
        states = matcher.advance(level.states, entry.name)
        if not states:
            continue
        if _is_folder(entry):
            if states != matcher.end_only:
                below = _enter(entry.path, f"{level.prefix}{escape(entry.name)}/", states)
                if all(below.identity != ancestor.identity for ancestor in levels):
                    levels.append(below)
        elif matcher.end in states:
            if is_image(entry.name) and (entry.is_symlink() or entry.is_file()):
                ids.append(level.prefix + escape(entry.name))
            else:
                ignored += 1
    return Found(ids, ignored)


def _enter(path: str, prefix: str, states: frozenset[int]) -> _Level:
    try:
        status = Path(path).stat()
        with os.scandir(path) as entries:
            ordered = sorted(entries, key=lambda entry: natural_key(entry.name))
    except OSError as error:
        raise SourceError(
            f"the folder {path} cannot be read ({error.strerror}): mend its permissions or leave it out"
        ) from error
    return _Level(iter(ordered), prefix, states, (status.st_dev, status.st_ino))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: not a folder, and not readable either
        return False


class _Matcher:
    """Follows all ways in which a path can match a pattern; a state is a count of components used up."""

    def __init__(self, pattern: Sequence[str]) -> None:
        self._steps = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in pattern]
        self._dotted = [part.startswith(".") for part in pattern]
        self.end = len(pattern)
        self.end_only = frozenset([self.end])
        self.start = frozenset(self._reach(0))

    def _reach(self, state: int) -> list[int]:
        """List `state` and those after it that need no further component: ``**`` may stand for nothing."""
        reached = [state]
        while state < self.end and self._steps[state] is None:
            state += 1
            reached.append(state)
        return reached

    def advance(self, states: frozenset[int], name: str) -> frozenset[int]:
        """Return the states after one more component; empty where nothing below can match."""
        after: set[int] = set()
        for state in states:
            if state == self.end or (is_hidden(name) and not self._dotted[state]):
                continue
            step = self._steps[state]
            if step is None:
                after.update(self._reach(state))
            elif step.match(name):
                after.update(self._reach(state + 1))
        return frozenset(after)
