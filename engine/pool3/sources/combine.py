"""Sources made of sources: several in a row, the first so many of one, and chosen ones of one."""

from __future__ import annotations

import itertools
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pool3.errors import SourceError, SpecError
from pool3.sources.base import NO_LABEL, Content, Source, check_unique
from pool3.sources.files import describe
from pool3.sources.naming import escape


class ConcatSource(Source):
    """Several sources, one after the other.

    Ids get a prefix: the path of the source's location relative to the common parent of all locations (none
    for a source that is the common parent); sources without a location, such as arrays in memory, get none
    where there is one of them, else their place in the list (``1``, ``2`` …). Label names are united in the
    order in which they first appear. `image_shape` stays only where all agree.

    Args:
        sources: at least one.

    Raises:
        SourceError: no source, or an image that two of them share.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        if not sources:
            raise SourceError("no source of images was given: name a folder, a glob, files or an archive")
        self._sources = list(sources)
        self.description = describe([source.description for source in sources])
        self.ids = [
            f"{prefix}/{id_}" if prefix else id_
            for prefix, source in zip(_prefixes(sources), sources, strict=True)
            for id_ in source.ids
        ]
        check_unique(self.ids, self.description)
        self.labels, self.label_names = _unite(sources)
        shapes = {source.image_shape for source in sources}
        self.image_shape = shapes.pop() if len(shapes) == 1 else None
        self.location = _common(sources)
        self.ignored = sum(source.ignored for source in sources)
        self._starts = [0, *itertools.accumulate(len(source) for source in sources)]

    def read(self, start: int, stop: int) -> Iterator[Content]:
        """Yield from each source that the range touches, in order."""
        self._check_range(start, stop)
        return self._read(start, stop)

    def _read(self, start: int, stop: int) -> Iterator[Content]:
        while start < stop:
            which = bisect_right(self._starts, start) - 1
            first, end = self._starts[which], min(self._starts[which + 1], stop)
            yield from self._sources[which].read(start - first, end - first)
            start = end


class LimitSource(Source):
    """The first images of a source; label names stay as they are.

    Args:
        source: where they come from.
        limit: how many, at least 1; a source with fewer is given in full.

    Raises:
        SpecError: `limit` is below 1.
    """

    def __init__(self, source: Source, limit: int) -> None:
        if limit < 1:
            raise SpecError(f"limit={limit}: take at least 1 image, or leave the limit out")
        self._source = source
        self.description = source.description
        self.ids = source.ids[:limit]
        self.labels = source.labels[:limit]
        self.label_names = source.label_names
        self.image_shape = source.image_shape
        self.location = source.location
        self.ignored = source.ignored

    def read(self, start: int, stop: int) -> Iterator[Content]:
        """Yield from the source itself."""
        self._check_range(start, stop)
        return self._source.read(start, stop)


class SelectionSource(Source):
    """Chosen images of a source, in its order; label names stay as they are.

    Args:
        source: where they come from.
        indices: their places in it, ascending.
    """

    def __init__(self, source: Source, indices: NDArray[np.int64]) -> None:
        self._source = source
        self._indices = indices
        self.description = source.description
        self.ids = [source.ids[index] for index in indices]
        self.labels = source.labels[indices]
        self.label_names = source.label_names
        self.image_shape = source.image_shape
        self.location = source.location

    def read(self, start: int, stop: int) -> Iterator[Content]:
        """Yield from the source itself, neighbours in one go."""
        self._check_range(start, stop)
        return self._read(self._indices[start:stop])

    def _read(self, indices: NDArray[np.int64]) -> Iterator[Content]:
        for run in np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1):
            if len(run):
                yield from self._source.read(int(run[0]), int(run[-1]) + 1)


def _common(sources: Sequence[Source]) -> Path | None:
    places = [source.location for source in sources if source.location is not None]
    return Path(os.path.commonpath(places)) if places else None


def _prefixes(sources: Sequence[Source]) -> list[str]:
    common = _common(sources)
    homeless = sum(source.location is None for source in sources)
    prefixes = []
    for place, source in enumerate(sources, 1):
        if source.location is not None and common is not None:
            prefix = source.location.relative_to(common).as_posix()
            prefixes.append("" if prefix == "." else escape(prefix))
        else:
            prefixes.append(str(place) if homeless > 1 else "")
    return prefixes


def _unite(sources: Sequence[Source]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    index: dict[str, int] = {}
    parts = []
    for source in sources:
        numbers = [index.setdefault(name, len(index)) for name in source.label_names]
        table = np.array([*numbers, NO_LABEL], np.int32)  # the last entry answers for -1
        parts.append(table[source.labels])
    return np.concatenate(parts), tuple(index)
