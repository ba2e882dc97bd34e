"""Where downloaded files lie."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_directory() -> Path:
    """Return ``$POOL3_CACHE`` where that is set, else the platform's cache folder; it may not exist."""
    chosen = os.environ.get("POOL3_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("pool3", appauthor=False)


def offline_asked(offline: bool = False) -> bool:
    """Tell whether the network must not be touched: by argument, or by ``POOL3_OFFLINE=1``."""
    return offline or os.environ.get("POOL3_OFFLINE", "").strip().lower() not in {"", "0", "false", "no"}
