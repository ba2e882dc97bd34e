"""Finds the images of a feature file's rows, and shows none that is not the very one a row was computed from."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.errors import Pool3Error, SourceError
from pool3.pages.thumbnails import Picture, encode, pillow, shrink
from pool3.sources import SelectionSource, Source, Unreadable, open_source
from pool3.sources.base import Content, content_sha256
from pool3.sources.naming import unescape
from pool3.store import FeatureFile
from pool3.watching import Watch, unwatched

THREADS = 2
AHEAD = 32
"""Images that are decoded or wait at a time, so that memory stays flat."""


@dataclass(slots=True)
class Images:
    """The images of a feature file's rows, where its source can still be read.

    Attributes:
        file: the feature file.
        source: where the images are; None: nowhere.
        problem: why there are none, or empty.
        shown: pictures made so far.
        missing: rows so far whose image is not in the source, or cannot be read.
        changed: rows so far whose image is another one by now, by its SHA-256.
        undecodable: rows so far whose image cannot be drawn.
    """

    file: FeatureFile
    source: Source | None
    problem: str = ""
    shown: int = 0
    missing: int = 0
    changed: int = 0
    undecodable: int = 0

    @property
    def note(self) -> str:
        """What is to be said about rows without a picture, in a sentence; empty where all have one."""
        if self.source is None:
            return self.problem
        parts = [
            f"{count:,} {what}"
            for count, what in (
                (self.missing, "missing or unreadable"),
                (self.changed, "changed since their features were computed"),
                (self.undecodable, "that cannot be drawn"),
            )
            if count
        ]
        wanted = self.shown + self.missing + self.changed + self.undecodable
        if not parts:
            return ""
        return f"{wanted - self.shown:,} of {wanted:,} images are not shown: {', '.join(parts)}"

    def thumbnails(
        self, rows: NDArray[np.int64] | Sequence[int], side: int, watch: Watch | None = None
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield each row's image, shrunk to fit into `side` pixels, in the source's order.

        Args:
            rows: of the file, each once.
            side: see `pool3.pages.thumbnails.shrink`.
            watch: told of how far the reading has come.

        Yields:
            row, (h, w, 3) uint8; rows without a picture are counted instead.
        """
        wanted = np.asarray(rows, np.int64)
        if self.source is None or not len(wanted):
            return
        pillow()
        places = self._places(wanted)
        self.missing += int((places < 0).sum())
        there = np.flatnonzero(places >= 0)
        there = there[np.argsort(places[there], kind="stable")]
        wanted, places = wanted[there], places[there]
        contents = SelectionSource(self.source, places).read(0, len(places))
        digests = self.file.content_sha256
        waiting: deque[tuple[int, Future[_Made]]] = deque()
        pool = ThreadPoolExecutor(THREADS, "pool3-picture")
        try:
            with (watch or unwatched)("reading images", "images") as report:
                for done, (row, content) in enumerate(zip(wanted.tolist(), contents, strict=True), 1):
                    waiting.append((row, pool.submit(_make, content, digests[row].tobytes(), side)))
                    if len(waiting) >= AHEAD:
                        yield from self._count(*waiting.popleft())
                    report(done, len(wanted))
                while waiting:
                    yield from self._count(*waiting.popleft())
        finally:  # also where the consumer stops early
            pool.shutdown(wait=True, cancel_futures=True)

    def pictures(
        self, rows: NDArray[np.int64] | Sequence[int], side: int = 160, watch: Watch | None = None
    ) -> dict[int, Picture]:
        """Row → its picture, for pages that show a few of them; rows without one are not in it."""
        return {row: encode(pixels) for row, pixels in self.thumbnails(rows, side, watch)}

    def _places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) each row's place in the source by its id, -1: not there.

        Ids of a merged file may have other prefixes than the source has; there an image of the same name at the same
        place will do, since the digest decides in the end.
        """
        assert self.source is not None
        known = self.source.ids
        found = {id_: place for place, id_ in enumerate(known)}
        places = np.full(len(rows), -1, np.int64)
        for i, row in enumerate(rows.tolist()):
            id_, index = self.file.ids[row], int(self.file.source_index[row])
            places[i] = found.get(id_, -1)
            if places[i] < 0 and self.file.parts and index < len(known) and _name(known[index]) == _name(id_):
                places[i] = index
        return places

    def _count(self, row: int, made: Future[_Made]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        problem, pixels = made.result()
        if pixels is not None:
            self.shown += 1
            yield row, pixels
        else:
            setattr(self, problem, getattr(self, problem) + 1)


def _name(id_: str) -> str:
    return id_.rpartition("/")[2]


_Made = tuple[str, NDArray[np.uint8] | None]
"""The counter that goes up, and pixels or None."""


def _make(content: Content, digest: bytes, side: int) -> _Made:
    if isinstance(content, Unreadable):
        return "missing", None
    if content_sha256(content) != digest:
        return "changed", None
    return "undecodable", shrink(content, side)


def find_images(file: FeatureFile, source: Any = None) -> Images:
    """Open what a feature file's rows were computed from.

    Args:
        file: the feature file; it stays open while images are read.
        source: anything that `pool3.sources.open_source` takes; None: what the file records, if it is still there.

    Raises:
        SourceError: a source was given, and cannot be read.
        MissingLibraryError: a source was given, and Pillow is not installed.
    """
    if source is not None:
        pillow()
        return Images(file, open_source(source))
    try:
        pillow()
        return Images(file, open_source(_recorded(file)))
    except Pool3Error as error:
        return Images(file, None, f"no images are shown: {error}; name their source by --source")


def _recorded(file: FeatureFile) -> list[str]:
    """The sources that a file records, as paths."""
    texts = [str(part["source"]) for part in file.parts] or [file.provenance.source]
    found: list[str] = []
    for text in texts:
        try:
            whole = unescape(text)
            # Several sources are recorded as one text; a name with a comma in it is one source.
            several = [unescape(part) for part in text.split(", ")]
        except ValueError as error:
            raise SourceError(f"the file records the source {text!a}, which is no path") from error
        found.extend(several if len(several) > 1 and all(map(os.path.exists, several)) else [whole])
    return found
