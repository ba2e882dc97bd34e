"""A warning before a fit that would take hours."""

from __future__ import annotations

import warnings

from pool3.classify.models import Settings

SECONDS = {"sklearn": 4.6e-11, "intelex": 2.0e-11, "cuml": 4.0e-13}
"""Backend → seconds a fit of ``svc`` takes, by rows² × dimensions.

Measured for the first two: 5.9 s and 2.5 s at 10,000 × 1,280 on two cores (AMD EPYC, Zen 5). For cuML it is a guess,
a fiftieth of scikit-learn-intelex. Harder classes, a larger C or more rows than the cache holds take several times as
long.
"""

LONG = 1800.0
"""Seconds by the rule from which a fit is warned about: what is beyond the rule makes hours of them."""


def estimate(rows: int, width: int, backend: str) -> float:
    """Seconds to fit ``svc``, by the rule of `SECONDS`."""
    return SECONDS[backend] * rows * rows * width


def warn_of_hours(wanted: Settings, backend: str, rows: int, width: int, fits: float = 1.0) -> None:
    """Warn before a fit of ``svc`` that would take hours; `fits` of that size are meant."""
    seconds = estimate(rows, width, backend) * fits
    if wanted.model == "svc" and seconds >= LONG:
        warnings.warn(
            f"fitting svc on {rows:,} rows of {width:,} numbers with {backend} takes about {seconds / 3600:,.1f} hours "
            "or several times that, since its time grows with the square of the rows; "
            "--model linear-svc (LinearSVC) takes minutes",
            stacklevel=4,
        )
