"""The kernel distance (KID): a maximum mean discrepancy with a polynomial kernel, over random subsets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pool3.errors import EvaluationError
from pool3.store.table import Table
from pool3.watching import Report

SUBSETS = 100
"""Subsets unless told; so in torch-fidelity and clean-fid."""

SUBSET_SIZE = 1000
"""Rows a subset unless told; so there too."""

SEED = 2020
"""Seed unless told: that of torch-fidelity, so that the same rows are drawn."""

_HELD_BYTES = 512 << 20
"""Features that are held at a time, as stored and of both sides: rows at random places are read for many subsets at
once, since each chunk of the file would be read anew for each subset."""


@dataclass(frozen=True, slots=True)
class KernelDistance:
    """KID over subsets.

    Attributes:
        mean: over the subsets; unbiased, so it may be a little below zero.
        std: standard deviation over the subsets, not of their mean.
        subsets: how many.
        subset_size: rows of each side in one.
        seed: of the draws.
    """

    mean: float
    std: float
    subsets: int
    subset_size: int
    seed: int


def kernel_distance(
    one: Table, other: Table, subsets: int, subset_size: int, seed: int, report: Report
) -> KernelDistance:
    """KID: the mean over random subsets of the unbiased MMD² with the kernel ``(x·y / D + 1)³``.

    Source: Bińkowski et al., "Demystifying MMD GANs" (2018). Subsets are drawn without replacement by NumPy's
    ``RandomState``, first of `one`, then of `other`, as torch-fidelity draws them.

    Raises:
        EvaluationError: a file has fewer rows than a subset.
    """
    for table in (one, other):
        if len(table) < subset_size:
            raise EvaluationError(
                f"{table.path} has {len(table):,} rows, fewer than the {subset_size:,} of a subset; "
                "give --kid-subset-size, the same in all that you compare, or extract more images"
            )
    random = np.random.RandomState(seed)
    drawn = [
        [random.choice(len(table), subset_size, replace=False) for table in (one, other)]
        for _ in range(subsets)
    ]
    row_bytes = one.features.dtype.itemsize + other.features.dtype.itemsize
    together = max(1, _HELD_BYTES // (row_bytes * one.features.shape[1] * subset_size))
    found: list[float] = []
    for start in range(0, subsets, together):
        group = drawn[start : start + together]
        ours, theirs = (_rows(table, [pair[i] for pair in group]) for i, table in enumerate((one, other)))
        for x, y in zip(ours, theirs, strict=True):
            found.append(squared_discrepancy(x.astype(np.float64), y.astype(np.float64)))
            report(len(found), subsets)
    return KernelDistance(float(np.mean(found)), float(np.std(found)), subsets, subset_size, seed)


def _rows(table: Table, subsets: list[NDArray[np.int64]]) -> list[NDArray[np.floating]]:
    """Read the rows of several subsets, each row once."""
    needed = np.unique(np.concatenate(subsets))
    features = table.features[needed]
    return [features[np.searchsorted(needed, rows)] for rows in subsets]


def squared_discrepancy(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The unbiased MMD² of two samples (m, D): rows are not compared with themselves."""
    m = len(x)
    within = sum(float(k.sum() - np.trace(k)) for k in (_kernel(x, x), _kernel(y, y)))
    return within / (m * (m - 1)) - 2 * float(_kernel(x, y).mean())


def _kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    products: NDArray[np.float64] = (x @ y.T / x.shape[1] + 1) ** 3
    return products
