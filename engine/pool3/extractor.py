"""The conductor: source → pipeline → network → feature store, each stage timed."""

from __future__ import annotations

import gc
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pool3 import provenance
from pool3._version import __version__
from pool3.backbones import CLEAN, Resize, get_backbone
from pool3.decoding import DECODER, DECODER_FAST, DECODER_PIXELS, pillow
from pool3.devices import Placement, choose_devices, step_threads
from pool3.errors import DeviceMemoryError, OutputExistsError, SourceError
from pool3.gathering import Committer, Failed, Gathered, Progress, Tally, groups
from pool3.pipeline import Batch, Pipeline
from pool3.precision import CHECKED, NONE, Choice, choose, expected, smallest_cosine
from pool3.result import ExtractResult
from pool3.runtime import Runner
from pool3.sources import (
    LimitSource,
    SelectionSource,
    Source,
    Unreadable,
    content_sha256,
    open_source,
)
from pool3.spec import SHARD_BYTES, SHARD_ROWS, ExtractSpec, failure_limit
from pool3.store import Failure, FeatureWriter, Provenance, recorded
from pool3.streams import begun, in_streams
from pool3.telemetry import BLOG_IMAGES_PER_SECOND, Ledger, StageClock
from pool3.tuning import default_shape, remembered
from pool3.weights import load_weights

Ranges = list[tuple[int, int]]
"""Index ranges [start, stop) of a source."""


class Extractor:
    """A network with its weights, ready for any number of sources.

    Attributes:
        spec: the settings.
        backbone: the network's declaration.
        preprocessing: the backbone's, with the resize of `spec`.
        weights: what was loaded, with its digests.
        placement: where it runs; see its `warning`.
        xla: whether XLA compiles the network.

    Args:
        spec: the settings; the defaults where None.
        fetching: called with (bytes so far, bytes in all or None) while weights are downloaded.
        clock: holds what the caller has spent on this run already; it counts into the first result.

    Raises:
        SpecError: a setting is unknown.
        WeightsError: the weights cannot be had or read.
        DeviceError: the device cannot be had.
        MissingLibraryError: the resize ``clean`` is asked for, and Pillow is not installed.
    """

    def __init__(
        self,
        spec: ExtractSpec | None = None,
        *,
        fetching: Callable[[int, int | None], None] | None = None,
        clock: StageClock | None = None,
    ) -> None:
        self.spec = spec or ExtractSpec()
        self._clock = clock or StageClock()
        self._runner: tuple[tuple[int, tuple[int, int] | None, str], Runner] | None = None
        with self._clock.stage("startup"):
            self.backbone = get_backbone(self.spec.backbone)
            self.preprocessing = replace(self.backbone.preprocessing, resize=cast(Resize, self.spec.resize))
            self._resizer = pillow() if self.preprocessing.resize == CLEAN else {}
            self.placement: Placement = choose_devices(self.spec.devices)
            if self.placement.warning:
                warnings.warn(self.placement.warning, stacklevel=2)
            self.xla = self.spec.uses_xla(on_gpu=self.placement.on_gpu)
            likely = expected(self.spec.precision, self.backbone, self.placement)
            tuned = remembered(self.backbone, self.placement, likely, xla=self.xla)
            self._shape = tuned or default_shape(self.placement)
            self.weights = load_weights(
                self.backbone,
                self.spec.weights,
                offline=self.spec.offline,
                progress=fetching,
                need_dense=self.spec.feature in ("logits", "softmax"),
            )

    def embed(self, images: Any) -> NDArray[np.float32]:
        """Compute features in memory; the precision ``auto`` is float32 here.

        Args:
            images: anything that `open_source` takes: paths, or an array (N, H, W, 3) uint8.

        Returns:
            (N, D) float32, a row an image, in order.

        Raises:
            SourceError: an image could not be read or decoded; the message names the first.
        """
        source = open_source(images)
        precision = "float32" if self.spec.precision == "auto" else self.spec.precision
        features, failures = self._embed(source, precision, self._batch_size(len(source)))
        if failures:
            first = failures[0]
            raise SourceError(f"{first.id}: {first.message}; use extract() to have failures recorded.")
        return features

    def rows(self, source: Source) -> tuple[NDArray[np.float32], list[Failure]]:
        """Compute features in memory, a row an image, also of an image that fails.

        Batches have the size of large sources, however few the images are: the network is compiled once, and a row has
        the same bits whatever else is asked for with it.

        Args:
            source: the images.

        Returns:
            (N, D) float32, in order, NaN where an image failed; and the failures, ascending. The precision ``auto`` is
            float32 here.
        """
        precision = "float32" if self.spec.precision == "auto" else self.spec.precision
        features, failures = self._embed(source, precision, self.spec.batch_size or self._shape.batch_size)
        if not failures:
            return features, []
        found = np.full((len(source), features.shape[1]), np.nan, np.float32)
        found[np.delete(np.arange(len(source)), [failure.index for failure in failures])] = features
        return found, failures

    def _embed(
        self, source: Source, precision: str, batch_size: int
    ) -> tuple[NDArray[np.float32], list[Failure]]:
        """Compute the features of all images that have one."""
        runner, pipeline = self._prepare(source, batch_size, precision)
        parts: list[NDArray[np.float32]] = []
        failures: list[Failure] = []
        try:
            with (
                begun(pipeline.batches([(0, len(source))])) as batches,
                closing(in_streams(runner, batches, self._shape.streams)) as done,
            ):
                runner.compile()
                for batch, features in done:
                    parts.append(features[batch.valid])
                    failures.extend(batch.failures)
        except DeviceMemoryError as error:
            return self._embed(source, precision, _halved(batch_size, error))
        return np.concatenate(parts), failures

    def extract(
        self,
        source: Any,
        output: str | os.PathLike[str],
        *,
        limit: int | None = None,
        overwrite: bool = False,
        retry_failed: bool = False,
        max_failures: int | str | None = None,
        progress: Progress | None = None,
    ) -> ExtractResult:
        """Turn a source into a sealed feature file; go on where an earlier run of the same settings stopped.

        Whatever ends the run early, an interruption or an error, what was computed is committed first.

        Args:
            source: anything that `open_source` takes.
            output: path of the HDF5 file.
            limit: take the first so many images.
            overwrite: discard an existing output, whatever made it.
            retry_failed: try the images again that failed in earlier runs, also those of a sealed file.
            max_failures: stop past so many failures, or past a share of all images such as ``5%``.
            progress: called after each step.

        Raises:
            SpecError: `max_failures` is no such number.
            SourceError: the source cannot be read at all.
            OutputExistsError: the output was made with other settings, and `overwrite` is not set.
            StoreError: the output cannot be written, or would not account for every input.
            TooManyFailuresError: more images failed than `max_failures` allows; nothing was sealed.
        """
        start = time.perf_counter()
        clock, self._clock = self._clock, StageClock()
        before = sum(clock.seconds.values())
        with clock.stage("scan"):
            images = open_source(source, limit=limit)
        most = None if max_failures is None else failure_limit(max_failures, len(images))
        batch_size = self._batch_size(len(images))
        width = int(np.prod(self.backbone.features[self.spec.feature]))
        with clock.stage("precision"):
            choice = self._choose_precision(images, batch_size, None if overwrite else recorded(output))
        with FeatureWriter.open(
            output,
            self._provenance(images, batch_size, choice),
            inputs=len(images),
            width=width,
            label_names=images.label_names,
            rows_per_shard=_rows_per_shard(batch_size, width),
            overwrite=overwrite,
            retry_failed=retry_failed,
        ) as writer:
            writer.spent = Ledger(clock, start - before).spent
            _check_unchanged(images, writer)
            if self.spec.batch_size not in (0, writer.provenance.batch_size):
                kept = writer.provenance.batch_size
                warnings.warn(f"{writer.path} was begun with batches of {kept} and keeps them", stacklevel=2)
            pending, failed = writer.pending(), writer.failed() if retry_failed else []
            computed, retried = _count(pending), sum(len(indices) for _, indices in failed)
            known = writer.failures
            tally = Tally(len(images) - computed, len(images), known, most, progress)
            if failed:
                self._retry(images, failed, writer, clock, tally)
            recovered = known - writer.failures
            tally.check()
            if pending:
                self._compute(images, pending, writer, clock, tally)
            with clock.stage("seal"):
                sealed = writer.seal()
            rows_written, failures, made_with = writer.rows, writer.failures, writer.provenance
            devices = writer.devices()
        seconds = before + time.perf_counter() - start
        computed += retried
        overall = computed / seconds if computed else None
        steady = tally.rate.images_per_second() or overall
        return ExtractResult(
            output=sealed,
            inputs=len(images),
            rows=rows_written,
            failures=failures,
            computed=computed,
            retried=retried,
            recovered=recovered,
            seconds=seconds,
            images_per_second=overall,
            steady_images_per_second=steady,
            blog_ratio=steady / BLOG_IMAGES_PER_SECOND if steady else None,
            backbone=made_with.backbone,
            feature=made_with.feature,
            weights=made_with.weights,
            weights_sha256=made_with.weights_sha256,
            precision=made_with.precision,
            precision_reason=made_with.precision_reason,
            precision_cosine=made_with.precision_cosine,
            storage=made_with.storage,
            devices=devices,
            batch_size=made_with.batch_size,
            stages=clock.seconds,
        )

    def _compute(
        self, images: Source, ranges: Ranges, writer: FeatureWriter, clock: StageClock, tally: Tally
    ) -> None:
        """Compute ranges that are pending, and commit each."""

        def commit(gathered: Gathered) -> None:
            writer.commit(gathered.rows(gathered.start, gathered.stop))

        def begin(start: int) -> Gathered:
            return Gathered(images, start, writer.provenance.storage)

        self._run(images, ranges, writer, clock, begin, commit, tally.step)

    def _retry(
        self, images: Source, failed: Failed, writer: FeatureWriter, clock: StageClock, tally: Tally
    ) -> None:
        """Try failed images again, packed into full batches, and put each in its place."""
        indices = np.concatenate([some for _, some in failed])
        selection = SelectionSource(images, indices)
        together = list(groups(failed, writer.rows_per_shard))
        bounds = np.cumsum([0, *(sum(len(some) for _, some in group) for group in together)]).tolist()

        def commit(gathered: Gathered) -> None:
            done = indices[gathered.start : gathered.stop]
            for limits, some in failed:
                if some[0] <= done[-1] and some[-1] >= done[0]:
                    writer.amend(gathered.rows(*limits))

        def begin(start: int) -> Gathered:
            return Gathered(selection, start, writer.provenance.storage, indices)

        step = partial(tally.step, again=True)
        self._run(selection, list(pairwise(bounds)), writer, clock, begin, commit, step)

    def _run(
        self,
        images: Source,
        ranges: Ranges,
        writer: FeatureWriter,
        clock: StageClock,
        begin: Callable[[int], Gathered],
        commit: Callable[[Gathered], None],
        step: Callable[[Batch], None],
    ) -> None:
        """Run the network over ranges of a source; commit each range, and what there is of one that is cut short.

        Where a batch does not fit into the device's memory, what was computed is committed, and what is left goes on
        with half the batch size.
        """
        while ranges:
            ranges = self._run_at_one_size(images, ranges, writer, clock, begin, commit, step)

    def _run_at_one_size(
        self,
        images: Source,
        ranges: Ranges,
        writer: FeatureWriter,
        clock: StageClock,
        begin: Callable[[int], Gathered],
        commit: Callable[[Gathered], None],
        step: Callable[[Batch], None],
    ) -> Ranges:
        """Run until all is done, or a batch does not fit; return the ranges that are left, the writer's size halved."""

        def timed_commit(gathered: Gathered) -> None:
            with clock.stage("write"):
                commit(gathered)

        # A resumed run keeps the shape of the run that began the file: the same shape gives the same bits.
        runner, pipeline = self._prepare(images, writer.batch_size, writer.provenance.precision)
        steps = StageClock()
        reached = ranges[0][0]
        read_before = clock.seconds.get("read", 0.0)

        def account() -> None:
            waited = steps.seconds.pop("wait", 0.0)  # for input, on the way to the next result
            clock.add("wait", waited)
            clock.add("forward", steps.seconds.pop("forward", 0.0) - waited)
            clock.seconds["read"] = read_before + pipeline.read_seconds

        try:
            with (
                begun(pipeline.batches(ranges)) as batches,
                closing(in_streams(runner, _timed(batches, steps, "wait"), self._shape.streams)) as done,
                Committer(timed_commit) as committer,
            ):
                with clock.stage("compile"):
                    runner.compile()
                for start, stop in ranges:
                    gathered = committer.begin(begin(start))
                    while gathered.stop < stop:
                        with steps.stage("forward"):
                            batch, features = next(done)
                        gathered.add(batch, features)
                        reached = gathered.stop
                        account()
                        step(batch)
                    committer.submit(gathered)
        except DeviceMemoryError as error:
            writer.batch_size = _halved(writer.batch_size, error)
            return [(max(start, reached), stop) for start, stop in ranges if stop > reached]
        finally:
            account()
        return []

    def _batch_size(self, images: int) -> int:
        return self.spec.batch_size or max(1, min(self._shape.batch_size, images))

    def _choose_precision(self, images: Source, batch_size: int, begun: Provenance | None) -> Choice:
        """Choose the precision of a run; one that goes on with another keeps what that one chose or was asked for."""
        if begun is not None:
            if self.spec.precision in ("auto", begun.precision):
                return Choice(begun.precision, begun.precision_reason, begun.precision_cosine)
            return Choice(self.spec.precision, "asked for", NONE)  # and will be refused
        first = LimitSource(images, CHECKED)

        def cosine(precision: str) -> float:
            # Float32 first, since the last network that was compiled is kept.
            full, _ = self._embed(first, "float32", batch_size)
            return smallest_cosine(self._embed(first, precision, batch_size)[0], full)

        choice = choose(self.spec.precision, self.backbone, self.placement, cosine)
        if choice.warning:
            warnings.warn(choice.warning, stacklevel=3)
        return choice

    def _prepare(self, source: Source, batch_size: int, precision: str) -> tuple[Runner, Pipeline]:
        route = self._route(source)
        image_shape = source.image_shape if route == "device" else None
        shape = (batch_size, image_shape, precision)
        if self._runner is not None and self._runner[0] == shape:
            runner = self._runner[1]
        else:
            # First, since two networks may not fit into memory; what TensorFlow traced holds itself in cycles.
            self._runner = None
            gc.collect()
            runner = Runner(
                self.backbone,
                self.weights.tensors,
                self.spec.feature,
                self.placement,
                batch_size=batch_size,
                image_shape=image_shape,
                precision=precision,
                xla=self.xla,
                preprocessing=self.preprocessing,
            )
            # The last shape alone: each compiled network holds the weights once more.
            self._runner = (shape, runner)
        return runner, Pipeline(
            source,
            self.preprocessing,
            batch_size,
            route,
            workers=self.spec.decoders,
            fast_decode=self.spec.fast_decode,
        )

    def _route(self, source: Source) -> str:
        return self.spec.route(one_size=source.image_shape is not None, on_gpu=self.placement.on_gpu)

    def _provenance(self, source: Source, batch_size: int, choice: Choice) -> Provenance:
        import tensorflow as tf

        decoder = DECODER_FAST if self.spec.fast_decode else DECODER
        return Provenance(
            pool3_version=__version__,
            pool3_commit=provenance.commit(),
            backbone=self.backbone.name,
            feature=self.spec.feature,
            feature_shape=tuple(self.backbone.features[self.spec.feature]),
            weights=self.weights.name,
            weights_sha256=self.weights.sha256,
            tensor_digest=self.weights.tensor_digest,
            preprocessing=str(self.preprocessing),
            decoder=decoder if source.image_shape is None else DECODER_PIXELS,
            precision=choice.precision,
            precision_reason=choice.reason,
            precision_cosine=choice.cosine,
            storage=self.spec.storage,
            batch_size=batch_size,
            route=self._route(source),
            threads=step_threads(),
            device=self.placement.description,
            compiler="xla" if self.xla else "grappler",
            tf32=tf.config.experimental.tensor_float_32_execution_enabled(),
            libraries=provenance.libraries() | self._resizer,
            source=source.description,
            source_manifest_sha256=source.manifest_sha256(),
            created=provenance.now(),
        )


def extract(
    source: Any,
    output: str | os.PathLike[str],
    *,
    limit: int | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    max_failures: int | str | None = None,
    progress: Progress | None = None,
    **spec: Any,
) -> ExtractResult:
    """Turn a source into a sealed feature file; see `Extractor.extract` for the arguments, `ExtractSpec` for `spec`."""
    extractor = Extractor(ExtractSpec(**spec))
    return extractor.extract(
        source,
        output,
        limit=limit,
        overwrite=overwrite,
        retry_failed=retry_failed,
        max_failures=max_failures,
        progress=progress,
    )


def _rows_per_shard(batch_size: int, width: int) -> int:
    """Images committed at a time: whole batches, within `SHARD_ROWS` and `SHARD_BYTES` where one batch is."""
    rows = min(SHARD_ROWS, SHARD_BYTES // (4 * width))
    return max(1, rows // batch_size) * batch_size


def _halved(batch_size: int, error: DeviceMemoryError) -> int:
    """Half the batch size, with a warning; one image that does not fit raises the error."""
    if batch_size == 1:
        raise error
    warnings.warn(
        f"a batch of {batch_size} does not fit into the device's memory: going on with {batch_size // 2}, which is "
        "recorded; less of --batch-size saves the attempt",
        stacklevel=3,
    )
    return batch_size // 2


def _count(ranges: Ranges) -> int:
    return sum(stop - start for start, stop in ranges)


def _check_unchanged(source: Source, writer: FeatureWriter) -> None:
    """Compare a sample of what is written with the source: ids may have stayed while the images changed.

    Raises:
        OutputExistsError: an image of the sample is not the one that its row was computed from.
    """
    for index, digest in writer.recorded():
        content = next(source.read(index, index + 1))
        if isinstance(content, Unreadable) or content_sha256(content) != digest:
            raise OutputExistsError(
                f"{writer.path} has a row of {source.ids[index]}, which has changed since or cannot be read any "
                "more, so it was left alone; name another output, or --overwrite to discard it"
            )


def _timed(batches: Iterator[Batch], clock: StageClock, stage: str) -> Iterator[Batch]:
    """Count the time spent waiting for each batch."""
    while True:
        with clock.stage(stage):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch
