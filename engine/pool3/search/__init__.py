"""Search in feature files: the nearest rows, and rows that are nearly the same. Nothing here knows a network."""

from pool3.search.duplicates import Duplicates, duplicates
from pool3.search.neighbours import BACKENDS, METRICS, Neighbours, neighbours

__all__ = ["BACKENDS", "METRICS", "Duplicates", "Neighbours", "duplicates", "neighbours"]
