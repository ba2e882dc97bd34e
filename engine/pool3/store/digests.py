"""SHA-256 over what a feature file holds, the same for any chunking and any way of writing it.

Numbers enter as little-endian bytes in C order, texts as UTF-8 followed by a NUL byte, failures field by field in the
order of `pool3.store.schema.FAILURE_FIELDS`. Attributes enter by ascending name as ``name=JSON`` and a NUL byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.store.rows import Failure
from pool3.store.schema import FAILURE_FIELDS

DATASETS = (
    "features",
    "ids",
    "labels",
    "label_names",
    "source_index",
    "content_sha256",
    "failures",
    "environments",
    "parts",
)
"""What has a digest."""

FINGERPRINT = "fingerprint"
"""The attribute that the others' digest is kept in."""


class Digests:
    """The digests of all datasets, fed in row order, in pieces of any size."""

    def __init__(self) -> None:
        self._sums = {name: hashlib.sha256() for name in DATASETS}

    def numbers(self, name: str, array: NDArray[Any]) -> None:
        """Take rows of a dataset of numbers."""
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        self._sums[name].update(little.reshape(-1).view(np.uint8).data)

    def texts(self, name: str, texts: Iterable[str]) -> None:
        """Take rows of a dataset of texts."""
        self._sums[name].update(b"".join(text.encode() + b"\0" for text in texts))

    def failures(self, failures: Iterable[Failure]) -> None:
        """Take rows of ``/failures``."""
        for failure in failures:
            index, *texts = (getattr(failure, name) for name in FAILURE_FIELDS)
            self.numbers("failures", np.array([index], np.int64))
            self.texts("failures", texts)

    def to_dict(self) -> dict[str, str]:
        """Dataset → 64 hexadecimal digits."""
        return {name: total.hexdigest() for name, total in self._sums.items()}


def fingerprint(attributes: Mapping[str, Any]) -> str:
    """Digest of a file's attributes, whether just made or as h5py gives them back; `FINGERPRINT` itself is left out."""
    total = hashlib.sha256()
    for name in sorted(set(attributes) - {FINGERPRINT}):
        value = attributes[name]
        plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        total.update(f"{name}={json.dumps(plain, ensure_ascii=False, default=str)}".encode() + b"\0")
    return total.hexdigest()
