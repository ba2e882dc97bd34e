"""The Fréchet distance between two normal distributions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pool3.metrics.moments import Moments


def frechet_distance(one: Moments, other: Moments) -> float:
    """FID: ``|μ1 − μ2|² + tr(Σ1 + Σ2 − 2 (Σ1 Σ2)^½)``.

    Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium" (2017),
    equation 6; the distance itself is of Dowson and Landau (1982).
    """
    first, second = one.covariance(), other.covariance()
    shift = one.mean - other.mean
    distance = shift @ shift + np.trace(first) + np.trace(second) - 2 * trace_of_root(first, second)
    return max(0.0, float(distance))  # below zero by rounding alone


def trace_of_root(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The trace of the square root of Σ1 Σ2, for two covariances (D, D).

    With Σ = R Rᵀ, the eigenvalues of Σ1 Σ2 are the squares of the singular values of R1ᵀ R2, so the trace is their
    sum. They come out without a square root at the end, and so with an error of about ε: the root of an eigenvalue
    that should be 0 and is ε by rounding would be √ε, a thousand times for a covariance without full rank. Nor does
    anything here need an offset on the diagonal, or turn complex, as a general matrix root does.
    """
    return float(np.linalg.svd(_root(first).T @ _root(second), compute_uv=False).sum())


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """R of shape (D, rank) with R Rᵀ the covariance; directions within its rounding error are left out."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * np.finfo(np.float64).eps * values[-1]
    root: NDArray[np.float64] = vectors[:, kept] * np.sqrt(values[kept])
    return root
