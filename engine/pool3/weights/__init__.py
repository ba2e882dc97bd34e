"""Trained weights: known files, how to get and verify them, and readers for every format they come in."""

from pool3.weights.cache import cache_directory, offline_asked
from pool3.weights.fetch import cached, fetch
from pool3.weights.random import random_tensors
from pool3.weights.registry import CIFAR10, KNOWN_WEIGHTS, KnownFile, KnownWeights, default_weights
from pool3.weights.resolve import load_weights, locate
from pool3.weights.tensors import LoadedWeights, tensor_digest

__all__ = [
    "CIFAR10",
    "KNOWN_WEIGHTS",
    "KnownFile",
    "KnownWeights",
    "LoadedWeights",
    "cache_directory",
    "cached",
    "default_weights",
    "fetch",
    "load_weights",
    "locate",
    "offline_asked",
    "random_tensors",
    "tensor_digest",
]
