"""Distances between two sets of features, and a score of one; the formulas and their limits: docs/distances.md.

All is computed in float64, over blocks of rows, so that memory does not grow with a file. Nothing here knows a network.
"""

from pool3.metrics.compare import Distances, Side, distances
from pool3.metrics.inception import InceptionScore, inception_score
from pool3.metrics.kernel import KernelDistance
from pool3.metrics.manifold import Manifold

__all__ = [
    "Distances",
    "InceptionScore",
    "KernelDistance",
    "Manifold",
    "Side",
    "distances",
    "inception_score",
]
