"""Precision, recall, density and coverage: how two sets lie in each other's neighbourhoods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pool3.errors import EvaluationError
from pool3.metrics.blocks import block, spans
from pool3.store.table import Table
from pool3.watching import Report

K = 5
"""Neighbours unless told, as Naeem et al. recommend; Kynkäänniemi et al. and torch-fidelity take 3."""


@dataclass(frozen=True, slots=True)
class Manifold:
    """How a generated set lies in the neighbourhoods of a reference set, and the other way round.

    Attributes:
        precision: share of the generated rows within the reach of a reference row.
        recall: share of the reference rows within the reach of a generated row.
        density: mean count of reference rows in whose reach a generated row is, by `k`; may be above 1.
        coverage: share of the reference rows with a generated row in their reach.
        k: a row's reach is its distance to the k-th nearest other row of its own set.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    k: int


def manifold(reference: Table, generated: Table, k: int, report: Report) -> Manifold:
    """Compare two sets by their k-nearest-neighbour balls; a ball holds its own surface.

    Sources: precision and recall: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative
    Models" (2019), equations 1 to 3. Density and coverage: Naeem et al., "Reliable Fidelity and Diversity Metrics for
    Generative Models" (2020), equations 3 and 4.

    Time grows with the product of the rows, memory does not.

    Raises:
        EvaluationError: a file has no k other rows for each of its own.
    """
    for table in (reference, generated):
        if len(table) <= k:
            raise EvaluationError(
                f"{table.path} has {len(table):,} rows, too few for {k} neighbours of each; give a smaller -k"
            )
    real, fake = len(reference), len(generated)
    pairs = real * real + fake * fake + real * fake
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        report(done, pairs)

    real_reach, fake_reach = _reach(reference, k, step), _reach(generated, k, step)
    balls = np.zeros(fake, np.int64)  # of reference rows, around each generated row
    recalled, covered = np.zeros(real, np.bool_), np.zeros(real, np.bool_)
    for here in spans(generated):
        ours = block(generated, here)
        for there in spans(reference):
            squares = squared_distances(ours, block(reference, there))
            inside = squares <= real_reach[there]
            balls[here] += inside.sum(axis=1)
            covered[there] |= inside.any(axis=0)
            recalled[there] |= (squares <= fake_reach[here, None]).any(axis=0)
            step(squares.size)
    return Manifold(
        precision=float((balls > 0).mean()),
        recall=float(recalled.mean()),
        density=float(balls.mean() / k),
        coverage=float(covered.mean()),
        k=k,
    )


def _reach(table: Table, k: int, step: Callable[[int], None]) -> NDArray[np.float64]:
    """Squared distance of each row to its k-th nearest other row, (N,)."""
    reach = np.empty(len(table))
    for here in spans(table):
        ours = block(table, here)
        nearest = np.full((len(ours), k), np.inf)
        for there in spans(table):
            squares = squared_distances(ours, block(table, there))
            if here == there:
                np.fill_diagonal(squares, np.inf)
            nearest = np.partition(np.hstack([nearest, squares]), k - 1, axis=1)[:, :k]
            step(squares.size)
        reach[here] = nearest[:, k - 1]
    return reach


def squared_distances(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared Euclidean distances (n, m) of rows (n, D) and (m, D).

    By one matrix product, which cancels where rows are nearly equal: what is within its rounding error becomes 0,
    so that equal rows are at no distance from each other.
    """
    norms = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1)
    squares: NDArray[np.float64] = norms - 2 * (x @ y.T)
    squares[squares < x.shape[1] * np.finfo(np.float64).eps * norms] = 0
    return squares
