"""FID and what can be had beside it, of two feature files."""

from __future__ import annotations

import os
import time
import warnings
from dataclasses import asdict, dataclass
from typing import Any

from pool3._version import __version__
from pool3.comparable import SAME_FEATURES, check_comparable
from pool3.errors import EvaluationError
from pool3.metrics.blocks import block, spans
from pool3.metrics.frechet import frechet_distance
from pool3.metrics.kernel import SEED, SUBSET_SIZE, SUBSETS, KernelDistance, kernel_distance
from pool3.metrics.manifold import K, Manifold, manifold
from pool3.metrics.moments import Moments
from pool3.store import FeatureFile, open_features
from pool3.watching import Watch, unwatched

MOST_WIDTH = 16_384
"""Widest features that a FID is taken of: a covariance of that width has 2 GiB, and several are held."""

ROWS_PER_NUMBER = 5
"""Rows for each of the D numbers below which a FID is warned about. The covariance of D numbers has D (D + 1) / 2
entries; with few rows its small eigenvalues are far too small, and the distance comes out too large."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two files.

    Attributes:
        path: the file.
        rows: its rows N.
        fingerprint: SHA-256 over all of it.
        source: what its images came from.
        settings: the provenance in which both should agree, by name.
    """

    path: str
    rows: int
    fingerprint: str
    source: str
    settings: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distances:
    """What two sets of features are apart.

    Attributes:
        fid: the Fréchet distance.
        kid: the kernel distance, where asked for.
        prdc: precision, recall, density and coverage, where asked for.
        reference: the first file; the real images.
        generated: the second.
        width: numbers a row, D.
        enough_rows: whether both have `ROWS_PER_NUMBER` rows for each number.
        forced: whether they were compared although they are of different kinds.
        differences: what they differ in then.
        seconds: wall time.
    """

    fid: float
    kid: KernelDistance | None
    prdc: Manifold | None
    reference: Side
    generated: Side
    width: int
    enough_rows: bool
    forced: bool
    differences: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name, nested, JSON-able; what was not asked for is None."""
        return asdict(self) | {
            "differences": list(self.differences),
            "seconds": round(self.seconds, 3),
            "pool3_version": __version__,
        }


def distances(
    reference: str | os.PathLike[str],
    generated: str | os.PathLike[str],
    *,
    kid: bool = False,
    kid_subsets: int = SUBSETS,
    kid_subset_size: int = SUBSET_SIZE,
    seed: int = SEED,
    prdc: bool = False,
    k: int = K,
    force: bool = False,
    watch: Watch | None = None,
) -> Distances:
    """The distances between two feature files; what each says: docs/distances.md.

    FID and KID are symmetric; precision and recall take the first file for the real images.

    Args:
        reference: feature file of the real images.
        generated: feature file of the others.
        kid: the kernel distance too.
        kid_subsets: subsets for it, at least 1.
        kid_subset_size: rows in each, at least 2.
        seed: of these subsets, 0 to 2³² - 1.
        prdc: precision, recall, density and coverage too.
        k: neighbours for these, at least 1.
        force: compare files whose provenance differs; written into the result.
        watch: told of each task, and how far it has come.

    Raises:
        EvaluationError: an argument is not one of these, the features are of different kinds, too wide, not finite,
            or too few.
        StoreError: a file is damaged or not sealed; `StoreNotFoundError` where there is none.
    """
    start = time.perf_counter()
    if kid_subsets < 1 or kid_subset_size < 2 or k < 1 or not 0 <= seed < 2**32:
        raise EvaluationError(
            "a KID takes at least 1 subset of at least 2 rows, and a seed below 2³²; neighbours are counted from 1: "
            f"received {kid_subsets} subsets of {kid_subset_size}, the seed {seed}, and k = {k}"
        )
    watch = watch or unwatched
    with open_features(reference) as one, open_features(generated) as other:
        differing = check_comparable(one, other, force=force)
        width = one.features.shape[1]
        for file in (one, other):
            if len(file) < 2:
                raise EvaluationError(f"{file.path} has {len(file)} rows, where a distance needs at least 2")
        if width > MOST_WIDTH:
            raise EvaluationError(
                f"the features are {width:,} wide, and a FID holds their covariances of {width:,} × {width:,}; "
                f"it is taken of at most {MOST_WIDTH:,}: extract a pooled feature"
            )
        enough = min(len(one), len(other)) >= ROWS_PER_NUMBER * width
        if not enough:
            _warn(one, other)
        if differing:
            warnings.warn(f"forced: the features differ in kind ({'; '.join(differing)})", stacklevel=2)
        fid = frechet_distance(_moments(one, watch), _moments(other, watch))
        kernel = near = None
        if kid:
            with watch("KID", "subsets") as report:
                kernel = kernel_distance(one, other, kid_subsets, kid_subset_size, seed, report)
        if prdc:
            with watch("neighbours", "pairs") as report:
                near = manifold(one, other, k, report)
        return Distances(
            fid=fid,
            kid=kernel,
            prdc=near,
            reference=_side(one),
            generated=_side(other),
            width=width,
            enough_rows=enough,
            forced=bool(differing),
            differences=tuple(differing),
            seconds=time.perf_counter() - start,
        )


def _moments(file: FeatureFile, watch: Watch) -> Moments:
    moments = Moments(file.features.shape[1])
    with watch(f"reading {file.path.name}", "rows") as report:
        for here in spans(file):
            moments.add(block(file, here))
            report(here.stop, len(file))
    return moments


def _warn(one: FeatureFile, other: FeatureFile) -> None:
    rows, width = min(len(one), len(other)), one.features.shape[1]
    warnings.warn(
        f"{rows:,} rows are few for features of {width:,} numbers: below {ROWS_PER_NUMBER * width:,} rows a FID is too "
        "large, and numerically uncertain; compare it only with FIDs of the same count of rows",
        stacklevel=3,
    )


def _side(file: FeatureFile) -> Side:
    provenance = file.provenance
    settings = {name: str(getattr(provenance, name)) for name in SAME_FEATURES}
    return Side(str(file.path), len(file), file.fingerprint, provenance.source, settings)
