"""CIFAR-10 as JPEG folders: an SVM on HOG, on EfficientNet-Lite0 and on pool_3, of the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pool3.classify import ClassifyResult, settings
from pool3.classify.backends import Choice, choose
from pool3.classify.data import Labelled, check_known, labelled
from pool3.classify.evaluating import evaluate
from pool3.classify.grid import check_folds
from pool3.errors import SourceNotFoundError, SpecError, WeightsNotFoundError
from pool3.experiments import BLOG_ACCURACY, Run
from pool3.hog import check_hog, hog_rows
from pool3.result import ExtractResult
from pool3.sources import SelectionSource, Source, open_source
from pool3.spec import ExtractSpec
from pool3.store import FeatureFile, Timing, open_features
from pool3.watching import Report, Watch, unwatched

SPLITS = ("train", "test")
"""Folders of the data, each with a folder a class."""

C = 0.1
"""The blog's penalty."""

GRIDS: dict[str, tuple[float, ...]] = {"linear": (0.001, 0.01, 0.1, 1, 10), "rbf": (1, 10, 100)}
"""Kernel → the penalties that are tried."""

BLOG_HOG = 0.59
"""What HOG and an SVM reach on CIFAR-10 by the blog post, as "about 59 %"; with which parameters is not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table.

    Attributes:
        features: ``HOG``, or a network and its feature.
        weights: registry name, ``random:SEED`` or ``custom``; empty for HOG.
        embed_seconds: wall time of the features of both sets, start-up and compilation included; None where the feature
            files do not say.
        images_per_second: of both sets, start-up and compilation left out; None likewise.
        svm: the classifier's evaluation; its `grid` is None at the fixed penalty.
        blog: what the blog post reached in this place; None where it has none.
    """

    features: str
    weights: str
    embed_seconds: float | None
    images_per_second: float | None
    svm: ClassifyResult
    blog: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, the classifier's figures among the others; times rounded to the millisecond."""
        times = {"embed_seconds": self.embed_seconds, "images_per_second": self.images_per_second}
        return {
            "features": self.features,
            "weights": self.weights,
            **{name: None if value is None else round(value, 3) for name, value in times.items()},
            "blog_accuracy": self.blog,
            **self.svm.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the comparison gave.

    Attributes:
        lines: HOG first.
        extractions: one a feature file.
        missing: why there is no line of pool_3, and what to do; empty where there is one.
        hog_version: scikit-image's.
    """

    lines: tuple[Line, ...]
    extractions: tuple[ExtractResult, ...]
    missing: str
    hog_version: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "lines": [line.to_dict() for line in self.lines],
            "extractions": [extraction.to_dict() for extraction in self.extractions],
            "missing": self.missing or None,
            "scikit_image": self.hog_version,
        }


def cifar10_lite(
    folder: Path,
    run: Run,
    data: Path,
    *,
    weights: str | None = None,
    limit: int | None = None,
    backend: str = "auto",
    folds: int = 5,
    watch: Watch | None = None,
) -> Comparison:
    """Compare features by the same SVM on the same images.

    Args:
        folder: where the feature files go; those that are there are gone on with.
        run: extracts one source.
        data: holds ``train`` and ``test``, each with a folder a class.
        weights: of ``inception_v3``, as `ExtractSpec.weights`; None: those of 2015-12-05 if they are in the cache.
        limit: take so many images of each set, evenly spread.
        backend: see `pool3.classify.choose`.
        folds: of the cross-validation, on the training images alone.
        watch: told how far HOG and the grids have come.

    Raises:
        SourceError: the data is not of this form.
        WeightsError: `weights` cannot be had or read.
        EvaluationError: images are of several sizes, or a class has too few of them.
        MissingLibraryError: scikit-image is not installed.
    """
    check_folds(folds)
    choice = choose(backend, "svc")
    version = check_hog()
    sources = {split: _source(data, split, limit) for split in SPLITS}
    missing = _missing(weights)
    specs = [ExtractSpec(backbone="efficientnet_lite0")]
    if not missing:
        specs.append(ExtractSpec(backbone="inception_v3", weights=weights))
    lines: list[Line] = []
    extractions: list[ExtractResult] = []
    for spec in specs:
        done = [
            run(spec, source, folder / f"cifar10-lite-{spec.backbone}-{split}.h5")
            for split, source in sources.items()
        ]
        extractions += done
        with ExitStack() as stack:
            files = [stack.enter_context(open_features(one.output)) for one in done]
            learn, ask = (labelled(file) for file in files)
            check_known(learn, ask, *files)
            judge = _Judge(choice, folds, watch or unwatched)
            if not lines:
                lines += _hog_lines(judge, list(sources.values()), files, learn, ask)
            lines += _network_lines(judge, done[0], files, learn, ask)
    return Comparison(tuple(lines), tuple(extractions), missing, version)


@dataclass(frozen=True, slots=True)
class _Judge:
    """The same classifier for all features."""

    choice: Choice
    folds: int
    watch: Watch

    def __call__(
        self, name: str, learn: Labelled, ask: Labelled, kernel: str, *, searched: bool
    ) -> ClassifyResult:
        wanted = settings("svc", kernel, {"C": C})
        grid: Mapping[str, Sequence[float]] | None = {"C": GRIDS[kernel]} if searched else None

        def told(task: str, unit: str) -> AbstractContextManager[Report]:
            return self.watch(f"{name}, {kernel}: {task}", unit)

        return evaluate(learn, ask, wanted, self.choice, grid=grid, folds=self.folds, watch=told)[0]


def _hog_lines(
    judge: _Judge, sources: Sequence[Source], files: Sequence[FeatureFile], learn: Labelled, ask: Labelled
) -> list[Line]:
    found = [hog_rows(source, file, watch=judge.watch) for source, file in zip(sources, files, strict=True)]
    parts = [
        replace(part, features=hog.rows[part.rows]) for part, hog in zip((learn, ask), found, strict=True)
    ]
    seconds, images = sum(hog.seconds for hog in found), sum(len(hog.rows) for hog in found)
    return [
        Line(
            features="HOG",
            weights="",
            embed_seconds=seconds,
            images_per_second=images / seconds,
            svm=judge("HOG", parts[0], parts[1], kernel, searched=searched),
            blog=BLOG_HOG,
        )
        for kernel, searched in (("linear", False), ("linear", True), ("rbf", True))
    ]


def _network_lines(
    judge: _Judge, made: ExtractResult, files: Sequence[FeatureFile], learn: Labelled, ask: Labelled
) -> list[Line]:
    took = sum((file.timing for file in files), Timing())
    lines = []
    for searched in (False, True):
        comparable = made.weights == "inception_v3" and not searched
        lines.append(
            Line(
                features=f"{made.backbone} {made.feature}",
                weights=made.weights,
                embed_seconds=took.seconds if took else None,
                images_per_second=took.images_per_second,
                svm=judge(made.backbone, learn, ask, "linear", searched=searched),
                blog=BLOG_ACCURACY if comparable else None,
            )
        )
    return lines


def _source(data: Path, split: str, limit: int | None) -> Source:
    """One set's images, evenly thinned.

    Raises:
        SourceNotFoundError: there is no such folder, or no image in it.
    """
    place = data / split
    if not place.is_dir():
        raise SourceNotFoundError(
            f"{data} has no folder {split}: name a folder that holds CIFAR-10 as images, "
            "train/CLASS/*.jpg and test/CLASS/*.jpg"
        )
    source = open_source(place)
    if limit is None or limit >= len(source):
        return source
    if limit < 1:
        raise SpecError(f"limit={limit}: take at least 1 image, or leave the limit out")
    return SelectionSource(source, np.arange(limit, dtype=np.int64) * len(source) // limit)


def _missing(weights: str | None) -> str:
    """Why there are no weights for pool_3; empty where there are. Those that are named have to be there."""
    from pool3.backbones import INCEPTION_V3
    from pool3.weights import locate

    try:
        locate(INCEPTION_V3, weights, offline=True)
    except WeightsNotFoundError as error:
        if weights is not None:
            raise
        return str(error)
    return ""
