"""pool3 turns large sets of images into Inception-v3 ``pool_3`` features: fast, exactly once, and provably.

The names below load on first use, so that ``import pool3`` costs nothing and reading features never needs TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pool3._version import __version__

if TYPE_CHECKING:
    from pool3.errors import Pool3Error
    from pool3.extractor import Extractor, extract
    from pool3.metrics import distances, inception_score
    from pool3.projection import project
    from pool3.reporting import ReportResult, report
    from pool3.result import ExtractResult
    from pool3.search import duplicates, neighbours
    from pool3.spec import ExtractSpec
    from pool3.store import export_features, merge_features, open_features
    from pool3.verification import Verification, verify

_HOMES = {
    "ExtractResult": "pool3.result",
    "ExtractSpec": "pool3.spec",
    "Extractor": "pool3.extractor",
    "Pool3Error": "pool3.errors",
    "ReportResult": "pool3.reporting",
    "Verification": "pool3.verification",
    "distances": "pool3.metrics",
    "duplicates": "pool3.search",
    "export_features": "pool3.store",
    "extract": "pool3.extractor",
    "inception_score": "pool3.metrics",
    "merge_features": "pool3.store",
    "neighbours": "pool3.search",
    "open_features": "pool3.store",
    "project": "pool3.projection",
    "report": "pool3.reporting",
    "verify": "pool3.verification",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pool3' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


__all__ = [
    "ExtractResult",
    "ExtractSpec",
    "Extractor",
    "Pool3Error",
    "ReportResult",
    "Verification",
    "__version__",
    "distances",
    "duplicates",
    "export_features",
    "extract",
    "inception_score",
    "merge_features",
    "neighbours",
    "open_features",
    "project",
    "report",
    "verify",
]
