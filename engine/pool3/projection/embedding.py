"""Features → places in the plane, by each backend's own estimator."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.projection.backends import import_umap
from pool3.projection.methods import Settings
from pool3.watching import Report

Places = NDArray[np.float64]
"""(n, 2)."""

_EXAGGERATED, _PLAIN = 250, 500
"""Iterations of openTSNE with and without early exaggeration: its defaults, named since progress counts them."""


_PARALLEL = 2_000
"""Rows from which threads are worth it. They meet in each of hundreds of iterations and wait there at full speed, so
that on a busy machine two threads can take ten times as long as one; with few rows they gain a quarter."""


def embed(x: NDArray[np.floating[Any]], wanted: Settings, backend: str, report: Report) -> Places:
    """Place rows in the plane.

    Args:
        x: (n, D) float32 or float64.
        wanted: from `pool3.projection.methods.fitted_to`; t-SNE or UMAP.
        backend: that `pool3.projection.backends.choose` gave; has the method.
        report: told of iterations, where the backend tells of them.

    Returns:
        (n, 2) float64.
    """
    make = {"opentsne": _opentsne, "sklearn": _sklearn, "umap-learn": _umap, "cuml": _cuml}[backend]
    return np.asarray(make(x, wanted, report), np.float64)


def threads() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _opentsne(x: NDArray[Any], wanted: Settings, report: Report) -> Any:
    from openTSNE import TSNE

    done = 0

    def count(_iteration: int, _error: float, _embedding: Any) -> None:
        nonlocal done
        done += 10
        report(done, _EXAGGERATED + _PLAIN)

    model = TSNE(
        perplexity=wanted.perplexity,
        early_exaggeration_iter=_EXAGGERATED,
        n_iter=_PLAIN,
        initialization="pca",
        random_state=wanted.seed,
        n_jobs=threads() if len(x) >= _PARALLEL else 1,
        callbacks=count,
        callbacks_every_iters=10,
    )
    return model.fit(x)


def _sklearn(x: NDArray[Any], wanted: Settings, _report: Report) -> Any:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # a dependency of scikit-learn

    count = threads() if len(x) >= _PARALLEL else 1
    model = TSNE(perplexity=wanted.perplexity, init="pca", random_state=wanted.seed, n_jobs=count)
    with threadpool_limits(count, user_api="openmp"):
        return model.fit_transform(x)


def _umap(x: NDArray[Any], wanted: Settings, _report: Report) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed means one thread, and what its own libraries deprecate
        return (
            import_umap()
            .UMAP(n_neighbors=wanted.neighbours, min_dist=wanted.min_dist, random_state=wanted.seed)
            .fit_transform(x)
        )


def _cuml(x: NDArray[Any], wanted: Settings, _report: Report) -> Any:
    if wanted.method == "umap":
        from cuml.manifold import UMAP

        model = UMAP(
            n_neighbors=wanted.neighbours,
            min_dist=wanted.min_dist,
            random_state=wanted.seed,
            output_type="numpy",
        )
    else:
        from cuml.manifold import TSNE

        assert wanted.perplexity is not None
        model = TSNE(
            perplexity=wanted.perplexity,
            n_neighbors=min(len(x) - 1, int(3 * wanted.perplexity)),
            method="fft",
            init="pca",
            learning_rate_method="adaptive",
            random_state=wanted.seed,
            output_type="numpy",
        )
    return model.fit_transform(np.ascontiguousarray(x, np.float32))
