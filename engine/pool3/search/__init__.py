"""Search in feature files: the nearest rows, and rows that are nearly the same. Nothing here knows a network."""

from pool3.search.pairs import Duplicates, duplicates
from pool3.search.query import BACKENDS, Neighbours, neighbours
from pool3.search.vectors import METRICS

__all__ = ["BACKENDS", "METRICS", "Duplicates", "Neighbours", "duplicates", "neighbours"]
