"""The Inception score of one set of class probabilities."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.errors import EvaluationError
from pool3.metrics.blocks import block, spans
from pool3.metrics.kernel import SEED
from pool3.store import open_features
from pool3.store.table import Table
from pool3.watching import Watch, unwatched

SPLITS = 10
"""Parts unless told; so in the paper's code and in torch-fidelity."""

FEATURES = ("softmax", "logits")
"""Features that an Inception score can be made of."""

_TOLERANCE = 1e-2
"""How far a row of probabilities may be from a sum of 1: float16 storage rounds each by up to 5e-4 of itself."""


@dataclass(frozen=True, slots=True)
class InceptionScore:
    """The Inception score of a file.

    Attributes:
        path: the feature file.
        feature: ``softmax`` or ``logits``.
        mean: over the parts; between 1 and the count of classes.
        std: standard deviation over the parts.
        splits: how many parts.
        seed: of the shuffle before it is parted; None: in the file's order.
        rows: N.
        classes: numbers a row.
    """

    path: str
    feature: str
    mean: float
    std: float
    splits: int
    seed: int | None
    rows: int
    classes: int

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name, the mean as ``inception_score``; JSON-able."""
        values = asdict(self)
        return {"inception_score": values.pop("mean"), **values}


def inception_score(
    path: str | os.PathLike[str],
    *,
    splits: int = SPLITS,
    seed: int | None = SEED,
    watch: Watch | None = None,
) -> InceptionScore:
    """``exp(mean of KL(p(y|x) ‖ p(y)))`` over each of several parts of the rows; the mean of the parts.

    Source: Salimans et al., "Improved Techniques for Training GANs" (2016), section 4. Parts and shuffle are those of
    torch-fidelity: rows permuted by NumPy's ``RandomState(seed)``, then cut into parts of about equal size.

    Args:
        path: feature file of ``softmax`` or ``logits``.
        splits: parts, at least 1.
        seed: of the shuffle; None: none.
        watch: told of the work and how far it has come.

    Raises:
        EvaluationError: the file holds another feature, what is no probability, or fewer rows than parts.
        StoreError: the file is damaged; `StoreNotFoundError` where there is none.
    """
    if splits < 1:
        raise EvaluationError(f"an Inception score is taken over at least 1 part; received {splits}")
    with open_features(path) as file, (watch or unwatched)("scoring", "rows") as report:
        if file.provenance.feature not in FEATURES:
            raise EvaluationError(
                f"{file.path} holds {file.provenance.feature}, but an Inception score is made of "
                f"{' or '.join(FEATURES)}: extract with --feature softmax"
            )
        rows, classes = file.features.shape
        if rows < max(2, splits):
            raise EvaluationError(f"{file.path} has {rows} rows, too few for {splits} parts; give fewer")
        part = _parts(rows, splits, seed)
        entropies = np.zeros(splits)  # sum of p log p of each part's rows
        sums = np.zeros((splits, classes))
        for here in spans(file):
            p, plogp = _probabilities(file, here)
            np.add.at(entropies, part[here], plogp)
            np.add.at(sums, part[here], p)
            report(here.stop, rows)
        counts = np.bincount(part, minlength=splits)
        mean = sums / counts[:, None]
        scores = np.exp(entropies / counts - _plogp(mean).sum(axis=1))
        return InceptionScore(
            path=str(file.path),
            feature=file.provenance.feature,
            mean=float(scores.mean()),
            std=float(scores.std()),
            splits=splits,
            seed=seed,
            rows=rows,
            classes=classes,
        )


def _parts(rows: int, splits: int, seed: int | None) -> NDArray[np.int64]:
    """The part of each row, (N,)."""
    order = np.arange(rows) if seed is None else np.random.RandomState(seed).permutation(rows)
    part = np.empty(rows, np.int64)
    for i in range(splits):
        part[order[i * rows // splits : (i + 1) * rows // splits]] = i
    return part


def _probabilities(file: Table, rows: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities (n, C) of some rows, and the sum of p log p of each, (n,)."""
    found = block(file, rows)
    if file.provenance.feature == "logits":
        found = found - found.max(axis=1, keepdims=True)
        p = np.exp(found)
        total = p.sum(axis=1, keepdims=True)
        p /= total
        return p, (p * (found - np.log(total))).sum(axis=1)
    total = found.sum(axis=1, keepdims=True)
    wrong = np.flatnonzero((np.abs(total[:, 0] - 1) > _TOLERANCE) | (found < 0).any(axis=1))
    if len(wrong):
        row = rows.start + int(wrong[0])
        raise EvaluationError(
            f"{file.path} holds softmax, but row {row} ({file.ids[row]}) is no distribution; extract it again"
        )
    p = found / total
    return p, _plogp(p).sum(axis=1)


def _plogp(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """``p log p``, with 0 for 0."""
    return p * np.log(np.where(p > 0, p, 1))
