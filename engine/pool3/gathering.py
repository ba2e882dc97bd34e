"""From batches to commits: what was computed is gathered range by range, and committed whatever ends the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pool3.errors import TooManyFailuresError
from pool3.pipeline import Batch
from pool3.sources import Source
from pool3.store import Rows, as_stored
from pool3.telemetry import SteadyRate

Progress = Callable[[int, int, int], None]
"""Called after each step with: images accounted for, images in all, failures among them."""


class Gathered:
    """The computed batches of consecutive images, until they are committed.

    Attributes:
        start: first image.
        stop: image after the last one gathered.
        committed: whether they lie on the disk.

    Args:
        source: what the images are counted in.
        start: first image.
        storage: dtype of the file's features.
        indices: the images' places in the file's source, where `source` is a selection of it.
    """

    def __init__(
        self, source: Source, start: int, storage: str, indices: NDArray[np.int64] | None = None
    ) -> None:
        self.start = start
        self.committed = False
        self._source = source
        self._storage = storage
        self._indices = indices
        self._done: list[tuple[Batch, NDArray[np.float32]]] = []

    @property
    def stop(self) -> int:
        """Image after the last one gathered; `start` where there is none."""
        return self._done[-1][0].start + self._done[-1][0].count if self._done else self.start

    def add(self, batch: Batch, features: NDArray[np.float32]) -> None:
        """Take a step's input and its output; an interruption falls before or after, never between."""
        self._done.append((batch, features))

    def rows(self, start: int, stop: int) -> Rows:
        """What became of the images whose places in the file's source lie in [start, stop).

        Raises:
            StoreError: a feature does not fit into the file's dtype.
        """
        place = np.concatenate([batch.start + np.flatnonzero(batch.valid) for batch, _ in self._done])
        digests = np.concatenate([batch.content_sha256[batch.valid] for batch, _ in self._done])
        features = np.concatenate([found[batch.valid] for batch, found in self._done])
        failures = [failure for batch, _ in self._done for failure in batch.failures]
        index = place
        if self._indices is not None:
            index = self._indices[place]
            failures = [replace(failure, index=int(self._indices[failure.index])) for failure in failures]
        here = (index >= start) & (index < stop)
        ids = [self._source.ids[i] for i in place[here]]
        return Rows(
            start=start,
            stop=stop,
            source_index=index[here],
            ids=ids,
            labels=self._source.labels[place[here]],
            content_sha256=digests[here],
            features=as_stored(features[here], ids, self._storage),
            failures=[failure for failure in failures if start <= failure.index < stop],
        )


class Committer:
    """Commits on a thread of its own, one at a time, while the next range is computed; a context manager.

    When the block ends, for whatever reason, what was gathered is on the disk: neither an exception nor an
    interruption in the main thread reaches the thread that writes.
    """

    def __init__(self, commit: Callable[[Gathered], None]) -> None:
        self._commit = commit
        self._pool = ThreadPoolExecutor(1, "pool3-commit")
        self._future: Future[None] | None = None
        self._open: Gathered | None = None

    def __enter__(self) -> Self:
        return self

    def begin(self, gathered: Gathered) -> Gathered:
        """Name what is gathered from now on."""
        self._open = gathered
        return gathered

    def submit(self, gathered: Gathered) -> None:
        """Commit it, once what was submitted before is committed.

        Raises:
            StoreError: what was submitted before could not be committed.
        """
        self._wait()
        self._future = self._pool.submit(self._write, gathered)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._pool.shutdown(wait=True)
        finally:
            # Once more, since an interruption may have come just then.
            self._pool.shutdown(wait=True)
            self._wait()
            if self._open is not None:
                self._write(self._open)

    def _wait(self) -> None:
        if self._future is not None:
            future, self._future = self._future, None
            future.result()

    def _write(self, gathered: Gathered) -> None:
        if not gathered.committed and gathered.stop > gathered.start:
            self._commit(gathered)
        gathered.committed = True


@dataclass(slots=True)
class Tally:
    """Counts images as steps end, reports them, and stops the run at too many failures.

    Attributes:
        done: images accounted for.
        total: images in all.
        failures: failures among them.
        most: failures that are allowed; None: any number.
        progress: called after each step.
        rate: images a second.
    """

    done: int
    total: int
    failures: int
    most: int | None
    progress: Progress | None
    rate: SteadyRate = field(default_factory=SteadyRate)

    def step(self, batch: Batch, *, again: bool = False) -> None:
        """Count a batch; `again`: its images had failed, and were counted as failures.

        Raises:
            TooManyFailuresError: there are too many failures by now. Not while images are tried again.
        """
        self.rate.step(batch.count)
        if again:
            self.failures -= batch.count
        else:
            self.done += batch.count
        self.failures += len(batch.failures)
        if self.progress is not None:
            self.progress(self.done, self.total, self.failures)
        if not again:
            self.check()

    def check(self) -> None:
        """Raise `TooManyFailuresError` where there are more failures than allowed."""
        if self.most is not None and self.failures > self.most:
            raise TooManyFailuresError(
                f"{self.failures:,} of {self.done:,} images failed so far, more than the {self.most:,} that "
                "--max-failures allows; all of it is committed: run again with --retry-failed once they are mended, "
                "or with a larger --max-failures"
            )


Failed = Sequence[tuple[tuple[int, int], NDArray[np.int64]]]
"""Ranges of a file, and the images in each that failed."""


def groups(failed: Failed, most: int) -> Iterator[list[tuple[tuple[int, int], NDArray[np.int64]]]]:
    """Yield neighbouring entries together, as long as they hold no more than `most` images; at least one each."""
    group: list[tuple[tuple[int, int], NDArray[np.int64]]] = []
    for entry in failed:
        if group and sum(len(indices) for _, indices in group) + len(entry[1]) > most:
            yield group
            group = []
        group.append(entry)
    if group:
        yield group
