"""How the C library gives memory back, where that decides how long something takes."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of mallopt(3) and what they are by default, from glibc's malloc.h and malloc.c.
_TRIM_THRESHOLD, _TRIM_THRESHOLD_DEFAULT = -1, 128 << 10
_MMAP_MAX, _MMAP_MAX_DEFAULT = -4, 65536

_KEPT = 1 << 30
"""Bytes that are kept at the heap's end at most."""


@contextmanager
def memory_kept() -> Iterator[None]:
    """Let large blocks that are freed meanwhile be used again, and give them back to the system at the end.

    TensorFlow's graph optimizer copies a network, weights and all, for each of its twenty passes. Its generator dataset
    makes glibc map and unmap every block of 128 KiB and more by itself, so that each copy is paid in page faults: two
    million of them, two seconds, for Inception-v3. Where glibc is not the C library, or its user has tuned it, nothing
    changes.
    """
    tuned = any(name.startswith("MALLOC_") for name in os.environ) or "GLIBC_TUNABLES" in os.environ
    c = ctypes.CDLL(None)
    if tuned or not (hasattr(c, "mallopt") and hasattr(c, "malloc_trim")):
        yield
        return
    c.mallopt(_MMAP_MAX, 0)
    c.mallopt(_TRIM_THRESHOLD, _KEPT)
    try:
        yield
    finally:
        c.mallopt(_MMAP_MAX, _MMAP_MAX_DEFAULT)
        c.mallopt(_TRIM_THRESHOLD, _TRIM_THRESHOLD_DEFAULT)
        c.malloc_trim(0)
