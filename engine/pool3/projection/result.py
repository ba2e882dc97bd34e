"""A map of rows, and how it was made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.projection.methods import Settings
from pool3.projection.quality import Quality


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ProjectResult:
    """A map of rows of a feature file.

    Attributes:
        features: the feature file.
        places: (n, 2) float64, each row's place.
        rows: (n,) int64, ascending, the rows of the file that were placed.
        n_total: rows of the file.
        settings: method, parameters and seed, fitted to n.
        pca_variance: share of the variance that the reduction before the method kept; None: there was none.
        backend: what ran: ``cuml``, ``opentsne``, ``umap-learn`` or ``sklearn``.
        backend_version: its version.
        backend_reason: why it was that one.
        quality: how well neighbourhoods were kept.
        seconds: stage → wall time: ``read``, ``pca``, ``embed``, ``quality``, ``images`` and ``write``.
        outputs: files that were written.
        images_shown: pictures in them; None: none were wanted.
        images_note: what is to be said of rows without a picture; empty: nothing.
    """

    features: Path
    places: NDArray[np.float64]
    rows: NDArray[np.int64]
    n_total: int
    settings: Settings
    pca_variance: float | None
    backend: str
    backend_version: str
    backend_reason: str
    quality: Quality
    seconds: dict[str, float]
    outputs: tuple[Path, ...] = ()
    images_shown: int | None = None
    images_note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """All but the places, JSON-able; times rounded to the millisecond."""
        return {
            "features": str(self.features),
            "rows": len(self.rows),
            "n_total": self.n_total,
            **self.settings.to_dict(),
            "pca_variance": self.pca_variance,
            "backend": self.backend,
            "backend_version": self.backend_version,
            "backend_reason": self.backend_reason,
            "trustworthiness": self.quality.trustworthiness,
            "knn_preservation": self.quality.knn_preservation,
            "k": self.quality.k,
            "quality_rows": self.quality.rows,
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
            "outputs": [str(path) for path in self.outputs],
            "images_shown": self.images_shown,
            "images_note": self.images_note or None,
        }
