"""The conductor: source → pipeline → network → feature store, each stage timed."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3 import provenance
from pool3._version import __version__
from pool3.backbones import get_backbone
from pool3.errors import OutputExistsError, SourceError
from pool3.pipeline import DECODER, DECODER_PIXELS, Batch, Pipeline, content_sha256
from pool3.runtime import Placement, Runner, choose_device
from pool3.sources import Source, Unreadable, open_source
from pool3.spec import DEFAULT_BATCH_SIZE, SHARD_BYTES, SHARD_ROWS, ExtractSpec
from pool3.store import Failure, FeatureWriter, Provenance, Rows
from pool3.telemetry import BLOG_IMAGES_PER_SECOND, StageClock, SteadyRate
from pool3.weights import load_weights

Progress = Callable[[int, int, int], None]
"""Called after each step with: images accounted for, images in all, failures among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractResult:
    """What a run did.

    Attributes:
        output: the sealed feature file.
        inputs: images in the source.
        rows: images that became a row.
        failures: images that became a recorded failure.
        computed: images that this run worked on; the rest were committed before.
        seconds: wall time of this run, compilation included; the first run of an `Extractor` bears its start-up.
        images_per_second: `computed` by `seconds`; None where nothing was computed.
        steady_images_per_second: from the first step's end to the last's; `images_per_second` where one step was all.
        blog_ratio: `steady_images_per_second` by the 33.3 of the blog post.
        backbone: name of the network.
        feature: name of the feature.
        weights: registry name, ``random:SEED`` or ``custom``.
        weights_sha256: SHA-256 of the weights file.
        precision: dtype of the convolutions.
        devices: what ran the network.
        batch_size: images a step.
        stages: stage → seconds; ``read`` runs beside the others.
    """

    output: Path
    inputs: int
    rows: int
    failures: int
    computed: int
    seconds: float
    images_per_second: float | None
    steady_images_per_second: float | None
    blog_ratio: float | None
    backbone: str
    feature: str
    weights: str
    weights_sha256: str
    precision: str
    devices: list[str]
    batch_size: int
    stages: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The fields as a JSON-able dictionary, times rounded to the millisecond."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in fields.items()}
        stages = {k: round(v, 3) for k, v in self.stages.items()}
        return rounded | {"output": str(self.output), "stages": stages}


class Extractor:
    """A network with its weights, ready for any number of sources.

    Attributes:
        spec: the settings.
        backbone: the network's declaration.
        weights: what was loaded, with its digests.
        placement: where it runs; see its `warning`.

    Args:
        spec: the settings; the defaults where None.
        fetching: called with (bytes so far, bytes in all or None) while weights are downloaded.
        clock: holds what the caller has spent on this run already; it counts into the first result.

    Raises:
        SpecError: a setting is unknown.
        WeightsError: the weights cannot be had or read.
        DeviceError: the device cannot be had.
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
        self._runner: tuple[tuple[int, tuple[int, int] | None], Runner] | None = None
        with self._clock.stage("startup"):
            self.backbone = get_backbone(self.spec.backbone)
            self.placement: Placement = choose_device(self.spec.devices)
            if self.placement.warning:
                warnings.warn(self.placement.warning, stacklevel=2)
            self.weights = load_weights(
                self.backbone,
                self.spec.weights,
                offline=self.spec.offline,
                progress=fetching,
                need_dense=self.spec.feature in ("logits", "softmax"),
            )

    def embed(self, images: Any) -> NDArray[np.float32]:
        """Compute features in memory.

        Args:
            images: anything that `open_source` takes: paths, or an array (N, H, W, 3) uint8.

        Returns:
            (N, D) float32, a row an image, in order.

        Raises:
            SourceError: an image could not be read or decoded; the message names the first.
        """
        source = open_source(images)
        runner, pipeline = self._prepare(source, self._batch_size(len(source)))
        parts = []
        for batch in pipeline.batches([(0, len(source))]):
            if batch.failures:
                first = batch.failures[0]
                raise SourceError(f"{first.id}: {first.message}; use extract() to have failures recorded.")
            parts.append(runner(batch.images)[batch.valid])
        return np.concatenate(parts)

    def extract(
        self,
        source: Any,
        output: str | os.PathLike[str],
        *,
        limit: int | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> ExtractResult:
        """Turn a source into a sealed feature file; go on where an earlier run of the same settings stopped.

        Args:
            source: anything that `open_source` takes.
            output: path of the HDF5 file.
            limit: take the first so many images.
            overwrite: discard an existing output, whatever made it.
            progress: called after each step.

        Raises:
            SourceError: the source cannot be read at all.
            OutputExistsError: the output was made with other settings, and `overwrite` is not set.
            StoreError: the output cannot be written, or would not account for every input.
        """
        start = time.perf_counter()
        clock, self._clock = self._clock, StageClock()
        before = sum(clock.seconds.values())
        with clock.stage("scan"):
            images = open_source(source, limit=limit)
        batch_size = self._batch_size(len(images))
        width = int(np.prod(self.backbone.features[self.spec.feature]))
        with FeatureWriter.open(
            output,
            self._provenance(images, batch_size),
            inputs=len(images),
            width=width,
            label_names=images.label_names,
            rows_per_shard=_rows_per_shard(batch_size, width),
            overwrite=overwrite,
        ) as writer:
            _check_unchanged(images, writer)
            if self.spec.batch_size not in (0, writer.provenance.batch_size):
                kept = writer.provenance.batch_size
                warnings.warn(f"{writer.path} was begun with batches of {kept} and keeps them", stacklevel=2)
            ranges = writer.pending()
            computed = sum(stop - start for start, stop in ranges)
            tally = _Tally(len(images) - computed, len(images), writer.failures, progress)
            if ranges:
                # A resumed run keeps the shape of the run that began the file: the same shape gives the same bits.
                runner, pipeline = self._prepare(images, writer.provenance.batch_size)
                with clock.stage("compile"):
                    runner.compile()
                steps = _timed(pipeline.batches(ranges), clock, "wait")
                for rows in _ranges(steps, ranges, runner, images, clock, tally):
                    with clock.stage("write"):
                        writer.commit(rows)
                clock.seconds["read"] = pipeline.read_seconds
            with clock.stage("seal"):
                sealed = writer.seal()
            rows_written, failures, recorded = writer.rows, writer.failures, writer.provenance
            devices = writer.devices()
        seconds = before + time.perf_counter() - start
        overall = computed / seconds if computed else None
        steady = tally.rate.images_per_second() or overall
        return ExtractResult(
            output=sealed,
            inputs=len(images),
            rows=rows_written,
            failures=failures,
            computed=computed,
            seconds=seconds,
            images_per_second=overall,
            steady_images_per_second=steady,
            blog_ratio=steady / BLOG_IMAGES_PER_SECOND if steady else None,
            backbone=recorded.backbone,
            feature=recorded.feature,
            weights=recorded.weights,
            weights_sha256=recorded.weights_sha256,
            precision=recorded.precision,
            devices=devices,
            batch_size=recorded.batch_size,
            stages=clock.seconds,
        )

    def _batch_size(self, images: int) -> int:
        return self.spec.batch_size or max(1, min(DEFAULT_BATCH_SIZE, images))

    def _prepare(self, source: Source, batch_size: int) -> tuple[Runner, Pipeline]:
        shape = (batch_size, source.image_shape)
        if self._runner is not None and self._runner[0] == shape:
            runner = self._runner[1]
        else:
            runner = Runner(
                self.backbone,
                self.weights.tensors,
                self.spec.feature,
                self.placement,
                batch_size=batch_size,
                image_shape=source.image_shape,
            )
            # The last shape alone: each compiled network holds the weights once more.
            self._runner = (shape, runner)
        return runner, Pipeline(source, self.backbone.preprocessing, batch_size, runner.route)

    def _provenance(self, source: Source, batch_size: int) -> Provenance:
        import tensorflow as tf

        return Provenance(
            pool3_version=__version__,
            pool3_commit=provenance.commit(),
            backbone=self.backbone.name,
            feature=self.spec.feature,
            feature_shape=tuple(self.backbone.features[self.spec.feature]),
            weights=self.weights.name,
            weights_sha256=self.weights.sha256,
            tensor_digest=self.weights.tensor_digest,
            preprocessing=str(self.backbone.preprocessing),
            decoder=DECODER if source.image_shape is None else DECODER_PIXELS,
            precision=self.spec.dtype,
            batch_size=batch_size,
            route="host" if source.image_shape is None else "device",
            threads=tf.config.threading.get_intra_op_parallelism_threads(),
            device=self.placement.description,
            tf32=tf.config.experimental.tensor_float_32_execution_enabled(),
            libraries=provenance.libraries(),
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
    progress: Progress | None = None,
    **spec: Any,
) -> ExtractResult:
    """Turn a source into a sealed feature file; see `Extractor.extract` for the arguments, `ExtractSpec` for `spec`."""
    extractor = Extractor(ExtractSpec(**spec))
    return extractor.extract(source, output, limit=limit, overwrite=overwrite, progress=progress)


def _rows_per_shard(batch_size: int, width: int) -> int:
    """Images committed at a time: whole batches, within `SHARD_ROWS` and `SHARD_BYTES` where one batch is."""
    rows = min(SHARD_ROWS, SHARD_BYTES // (4 * width))
    return max(1, rows // batch_size) * batch_size


def _check_unchanged(source: Source, writer: FeatureWriter) -> None:
    """Compare a sample of what is written with the source: ids may have stayed while the images changed.

    Raises:
        OutputExistsError: an image of the sample is not the one that its row was computed from.
    """
    for index, recorded in writer.recorded():
        content = next(source.read(index, index + 1))
        if isinstance(content, Unreadable) or content_sha256(content) != recorded:
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


@dataclass(slots=True)
class _Tally:
    """Counts images as steps end, and reports them."""

    done: int
    total: int
    failures: int
    progress: Progress | None
    rate: SteadyRate = field(default_factory=SteadyRate)

    def step(self, batch: Batch) -> None:
        self.rate.step(batch.count)
        self.done += batch.count
        self.failures += len(batch.failures)
        if self.progress is not None:
            self.progress(self.done, self.total, self.failures)


def _ranges(
    batches: Iterator[Batch],
    ranges: list[tuple[int, int]],
    runner: Runner,
    source: Source,
    clock: StageClock,
    tally: _Tally,
) -> Iterator[Rows]:
    """Run the network and gather the batches of each index range into the rows that are committed together."""
    for start, stop in ranges:
        index: list[NDArray[np.int64]] = []
        digests: list[NDArray[np.uint8]] = []
        features: list[NDArray[np.float32]] = []
        failures: list[Failure] = []
        covered = start
        while covered < stop:
            batch = next(batches)
            with clock.stage("forward"):
                features.append(runner(batch.images)[batch.valid])
            index.append(batch.start + np.flatnonzero(batch.valid))
            digests.append(batch.content_sha256[batch.valid])
            failures.extend(batch.failures)
            covered += batch.count
            tally.step(batch)
        source_index = np.concatenate(index)
        yield Rows(
            start=start,
            stop=stop,
            source_index=source_index,
            ids=[source.ids[i] for i in source_index],
            labels=source.labels[source_index],
            content_sha256=np.concatenate(digests),
            features=np.concatenate(features),
            failures=failures,
        )
