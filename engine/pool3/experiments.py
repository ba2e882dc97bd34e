"""Two whole experiments: the demonstration on digits, and the blog post of 2016 on CIFAR-10."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pool3.classify import ClassifyResult, classify
from pool3.errors import Pool3Error, WeightsNotFoundError
from pool3.extractor import ExtractResult
from pool3.spec import ExtractSpec

BLOG_ACCURACY = 0.8741
"""Of the blog post: pool_3 features of 10,000 images, ``SVC(kernel="linear", C=0.1)``, the 10,000 test images."""

Run = Callable[[ExtractSpec, Any, Path], ExtractResult]
"""Extracts a source into a feature file; the command line shows progress meanwhile."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """What an experiment gave.

    Attributes:
        extractions: one a feature file.
        svm: the classifier's evaluation.
    """

    extractions: tuple[ExtractResult, ...]
    svm: ClassifyResult

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"extractions": [e.to_dict() for e in self.extractions], "svm": self.svm.to_dict()}


def digits(folder: Path, run: Run) -> Experiment:
    """Digits → ``efficientnet_lite0`` → a linear SVM on three quarters of the features, tested on the rest."""
    spec = ExtractSpec(backbone="efficientnet_lite0")
    extraction = run(spec, "sklearn:digits", folder / "digits.h5")
    return Experiment((extraction,), classify(extraction.output, test_fraction=0.25))


def cifar10(
    folder: Path,
    run: Run,
    *,
    data: str | None = None,
    weights: str | None = None,
    limit: int | None = None,
    offline: bool = False,
    fetching: Callable[[int, int | None], None] | None = None,
) -> Experiment:
    """The blog's experiment: batch 1 of CIFAR-10 to train, the test batch to test, on ``pool_3`` of 2015-12-05.

    Args:
        folder: where the feature files go.
        run: extracts one source.
        data: CIFAR-10's python version, as a folder or a ``.tar.gz``; None to fetch it.
        weights: as `ExtractSpec.weights`; None to fetch those of 2015-12-05.
        limit: take the first so many images of each batch, for a quick look.
        offline: fetch nothing.
        fetching: called with the bytes done and the bytes in all.

    Raises:
        Pool3Error: the weights or the images cannot be had; one message names all that is missing.
    """
    from pool3.backbones import INCEPTION_V3
    from pool3.sources import CifarSource, open_source
    from pool3.weights import CIFAR10, fetch, locate

    spec = ExtractSpec(backbone=INCEPTION_V3.name, weights=weights, offline=offline)
    missing: list[str] = []
    archive = Path(data) if data is not None else None
    # Both are looked for before any work, so that one message tells the whole of what is missing.
    try:
        locate(INCEPTION_V3, weights, offline=offline, progress=fetching)
    except WeightsNotFoundError as error:
        missing.append(str(error))
    if archive is None:
        try:
            archive = fetch(CIFAR10, offline=offline, progress=fetching)
        except Pool3Error as error:
            missing.append(str(error))
    if missing or archive is None:
        raise Pool3Error("\n".join([*missing, "Or name the files: make cifar10 WEIGHTS=FILE CIFAR10=FILE."]))
    parts = {"train": "data_batch_1", "test": "test_batch"}
    sources = {
        name: open_source(CifarSource(archive, batches=(batch,)), limit=limit)
        for name, batch in parts.items()
    }
    extractions = [run(spec, source, folder / f"cifar10-{name}.h5") for name, source in sources.items()]
    train, test = (e.output for e in extractions)
    return Experiment(tuple(extractions), classify(train, test, C=0.1, kernel="linear"))
