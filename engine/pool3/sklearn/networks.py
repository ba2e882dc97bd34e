"""The networks that a process keeps, so that a search over a pipeline does not build one for each fit."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pool3.errors import ExtractionError
from pool3.sources import Source
from pool3.spec import ExtractSpec
from pool3.store import Failure

if TYPE_CHECKING:
    from pool3.extractor import Extractor

MOST = 4
"""Networks that a process keeps; of those that were used least lately it lets go. One of Inception-v3 holds some
200 MB: its weights, and the constants of its compiled form."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network that is kept; one thread at a time runs it.

    Attributes:
        extractor: with its weights, and what it has compiled.
    """

    extractor: Extractor
    _running: threading.Lock = field(default_factory=threading.Lock)

    def rows(self, source: Source) -> tuple[NDArray[np.float32], list[Failure]]:
        """See `Extractor.rows`."""
        with self._running:
            return self.extractor.rows(source)


_Key = tuple[ExtractSpec, tuple[int, int]]

_kept: OrderedDict[_Key, Network] = OrderedDict()
_building = threading.Lock()
_process = 0


def network(spec: ExtractSpec) -> Network:
    """Build a network, or take the one that this process has of the same settings and weights.

    Raises:
        ExtractionError: this process was forked from one that ran TensorFlow, which hangs then.
        Pool3Error: as `Extractor` raises.
    """
    global _process
    with _building:
        if _kept and _process != os.getpid():
            raise ExtractionError(
                "this process was forked from one in which TensorFlow ran, where it would hang; use joblib's default "
                "backend loky, which starts fresh processes, or threads"
            )
        _process = os.getpid()
        key = _key(spec)
        if key not in _kept:
            from pool3.extractor import Extractor

            made = Network(Extractor(spec))
            while len(_kept) >= MOST:
                _kept.popitem(last=False)
            _kept[key] = made
        _kept.move_to_end(key)
        return _kept[key]


def _key(spec: ExtractSpec) -> _Key:
    """Settings, and the state of a file of weights that is named by its path: it may be replaced meanwhile."""
    path = Path(spec.weights or "").expanduser()
    if spec.weights is None or not path.is_file():
        return spec, (0, 0)
    state = path.stat()
    return replace(spec, weights=str(path.resolve())), (state.st_mtime_ns, state.st_size)
