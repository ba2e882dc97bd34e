"""The methods: their parameters, checked, and fitted to the count of rows."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

from pool3.errors import EvaluationError

METHODS = ("tsne", "umap", "pca")

PERPLEXITY = 30.0
"""Unless told; as in L. van der Maaten's own implementations."""

NEIGHBOURS, MIN_DIST = 15, 0.1
"""Of UMAP unless told; umap-learn's own."""

LEAST_ROWS = 4
"""Fewer have no map: t-SNE needs a perplexity of 1, and so three neighbours."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What makes a map.

    Attributes:
        method: one of `METHODS`.
        pca: components that features are reduced to first, 0: none.
        perplexity: of t-SNE, else None.
        neighbours: of UMAP, else None.
        min_dist: of UMAP, else None.
        seed: of all that draws.
    """

    method: str
    pca: int
    perplexity: float | None
    neighbours: int | None
    min_dist: float | None
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {name: getattr(self, name) for name in self.__slots__}

    def described(self) -> str:
        """In words, for people."""
        parts = {
            "perplexity": self.perplexity,
            "neighbours": self.neighbours,
            "minimum distance": self.min_dist,
            "seed": self.seed,
        }
        said = ", ".join(f"{name} {value:g}" for name, value in parts.items() if value is not None)
        name = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}[self.method]
        first = f"PCA to {self.pca}, then " if self.pca else ""
        return f"{first}{name} ({said})"


def settings(
    method: str = "tsne",
    *,
    pca: int = 50,
    perplexity: float | None = None,
    neighbours: int | None = None,
    min_dist: float | None = None,
    seed: int = 0,
) -> Settings:
    """Check what was asked for; what a method does not have must be None.

    Raises:
        EvaluationError: a setting is unknown, out of its range, or of another method.
    """
    if method not in METHODS:
        raise EvaluationError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}")
    if perplexity is not None and method != "tsne":
        raise EvaluationError(f"{method} has no perplexity; leave it out, or choose the method tsne")
    if method != "umap" and (neighbours is not None or min_dist is not None):
        raise EvaluationError(
            f"{method} has no neighbours and no min_dist; leave them out, or choose the method umap"
        )
    if perplexity is not None and not (1 <= perplexity < math.inf):
        raise EvaluationError(f"a perplexity is at least 1, usually 5 to 50; received {perplexity}")
    if neighbours is not None and neighbours < 2:
        raise EvaluationError(f"UMAP takes at least 2 neighbours; received {neighbours}")
    if min_dist is not None and not 0 <= min_dist <= 1:
        raise EvaluationError(f"UMAP's min_dist lies between 0 and 1; received {min_dist}")
    if pca < 0 or pca == 1:
        raise EvaluationError(f"PCA reduces to 2 components or more, 0 leaves it out; received {pca}")
    if not 0 <= seed < 2**32:
        raise EvaluationError(f"a seed lies between 0 and 2³² − 1; received {seed}")
    # PCA to 50 would change nothing before PCA to 2.
    return Settings(method, 0 if method == "pca" else pca, perplexity, neighbours, min_dist, seed)


def fitted_to(wanted: Settings, rows: int, width: int) -> Settings:
    """Fit defaults to few rows, with a warning, and refuse what was asked for and does not fit.

    Args:
        wanted: from `settings`.
        rows: n that are to be placed.
        width: D of the features.

    Raises:
        EvaluationError: there are too few rows or numbers, or a parameter asks for more rows.
    """
    if rows < LEAST_ROWS:
        raise EvaluationError(f"{rows} rows make no map; extract at least {LEAST_ROWS} images")
    if width < 2:
        raise EvaluationError("features of a single number make no map; choose another feature")
    # Its neighbourhoods are three perplexities wide (van der Maaten 2014, J. Mach. Learn. Res. 15, 3221).
    most = (rows - 1) / 3
    if wanted.method == "tsne":
        if wanted.perplexity is not None and wanted.perplexity > most:
            raise EvaluationError(
                f"a perplexity of {wanted.perplexity:g} needs {math.ceil(3 * wanted.perplexity) + 1:,} rows "
                f"and there are {rows:,}; give one of {most:.4g} at most"
            )
        if wanted.perplexity is None and most < PERPLEXITY:
            warnings.warn(f"{rows:,} rows: the perplexity is {most:.4g}, not {PERPLEXITY:g}", stacklevel=3)
        wanted = replace(wanted, perplexity=wanted.perplexity or min(PERPLEXITY, most))
    if wanted.method == "umap":
        if wanted.neighbours is not None and wanted.neighbours >= rows:
            raise EvaluationError(f"{wanted.neighbours} neighbours of {rows} rows; give {rows - 1} at most")
        if wanted.neighbours is None and rows <= NEIGHBOURS:
            warnings.warn(f"{rows:,} rows: UMAP takes {rows - 1} neighbours, not {NEIGHBOURS}", stacklevel=3)
        wanted = replace(
            wanted,
            neighbours=wanted.neighbours or min(NEIGHBOURS, rows - 1),
            min_dist=MIN_DIST if wanted.min_dist is None else wanted.min_dist,
        )
    # No more components than there are numbers, or rows, and none where that would reduce nothing.
    components = min(wanted.pca, rows)
    return replace(wanted, pca=components if components < width else 0)
