"""What a report says of a feature file: how it came about, how long that took, and what failed."""

from __future__ import annotations

import os
from typing import Any

from pool3.store import info
from pool3.telemetry import BLOG_IMAGES_PER_SECOND, advice

MOST_FAILURES = 100
"""Failures of a file that the page lists; the file itself holds all of them."""


def described(path: str | os.PathLike[str], role: str) -> dict[str, Any]:
    """Describe a file, JSON-able; see `ReportResult.files`.

    Raises:
        StoreError: it is damaged.
    """
    facts = info(path, max_failures=MOST_FAILURES)
    timing = facts["timing"]
    rate = timing["images_per_second"] if timing else None
    return facts | {
        "role": role,
        "blog_ratio": rate / BLOG_IMAGES_PER_SECOND if rate else None,
        "advice": advice(timing["stages"]) if timing else "",
    }
