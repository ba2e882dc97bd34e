"""Two whole experiments: the demonstration on digits, and the blog post of 2016 on CIFAR-10."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pool3.classify import ClassifyResult, classify
from pool3.errors import Pool3Error, WeightsNotFoundError
from pool3.result import ExtractResult
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


def fetch_cifar10(
    data: str | None = None,
    weights: str | None = None,
    *,
    offline: bool = False,
    fetching: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Have at hand all that `cifar10` needs: its images and the weights, verified, fetched where they are not here.

    Args:
        data: CIFAR-10's python version, as a folder or a ``.tar.gz``; None to fetch it.
        weights: as `ExtractSpec.weights`; None to fetch those of 2015-12-05.
        offline: fetch nothing.
        fetching: called with the bytes done and the bytes in all.

    Returns:
        Where the images are.

    Raises:
        Pool3Error: the weights or the images cannot be had; one message names all that is missing.
    """
    from pool3.backbones import INCEPTION_V3
    from pool3.weights import CIFAR10, fetch, locate

    missing: list[str] = []
    place = Path(data) if data is not None else None
    if place is not None and not place.exists():
        missing.append(f"{place} does not exist; name CIFAR-10's python version, as a folder or a .tar.gz.")
    # A wrong path is said before anything is fetched.
    offline = offline or bool(missing)
    try:
        locate(INCEPTION_V3, weights, offline=offline, progress=fetching)
    except WeightsNotFoundError as error:
        missing.append(str(error))
    if place is None:
        try:
            place = fetch(CIFAR10, offline=offline, progress=fetching)
        except Pool3Error as error:
            missing.append(str(error))
    if missing or place is None:
        raise Pool3Error("\n".join(missing))
    return place


def cifar10(
    folder: Path, run: Run, data: Path, *, weights: str | None = None, limit: int | None = None
) -> Experiment:
    """The blog's experiment: batch 1 of CIFAR-10 to train, the test batch to test, on ``pool_3`` of 2015-12-05.

    Args:
        folder: where the feature files go.
        run: extracts one source.
        data: from `fetch_cifar10`.
        weights: as `ExtractSpec.weights`.
        limit: take the first so many images of each batch, for a quick look.
    """
    from pool3.sources import CifarSource, open_source

    spec = ExtractSpec(backbone="inception_v3", weights=weights)
    extractions = []
    for name, batch in (("train", "data_batch_1"), ("test", "test_batch")):
        source = open_source(CifarSource(data, batches=(batch,)), limit=limit)
        extractions.append(run(spec, source, folder / f"cifar10-{name}.h5"))
    train, test = (extraction.output for extraction in extractions)
    return Experiment(tuple(extractions), classify(train, test, C=0.1, kernel="linear"))
