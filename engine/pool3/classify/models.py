"""The models, and the few parameters of each, checked when they are made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pool3.errors import EvaluationError

KERNELS = ("linear", "rbf")
"""Kernels of ``svc``."""

MODELS = ("svc", "linear-svc", "logistic", "knn", "centroid")
"""Models that `classify` fits."""

DEFAULTS: dict[str, dict[str, float | str]] = {
    "svc": {"C": 0.1},
    "linear-svc": {"C": 0.1},
    "logistic": {"C": 0.1},
    "knn": {"k": 5},
    "centroid": {},
}
"""Model → its parameters with their defaults; ``svc`` with the kernel ``rbf`` has ``gamma`` besides."""

GAMMA = "scale"
"""scikit-learn's default: 1 / (D × the variance of all training features)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A model to fit: its name, the kernel (empty but for ``svc``), and all its parameters by name."""

    model: str
    kernel: str
    parameters: dict[str, float | str]

    def at(self, point: Mapping[str, float]) -> Settings:
        """These with some parameters replaced and checked."""
        merged = self.parameters | dict(point)
        return settings(self.model, self.kernel or None, merged)


def settings(
    model: str = "svc", kernel: str | None = None, given: Mapping[str, float | str | None] | None = None
) -> Settings:
    """Check a model's name and parameters, and fill in its defaults.

    Args:
        model: one of `MODELS`.
        kernel: one of `KERNELS`, for ``svc`` alone; None: ``linear``.
        given: parameter → value, None: its default. ``C`` and ``gamma`` are finite and above 0, ``k`` is whole.

    Raises:
        EvaluationError: the model is unknown, has no such parameter, or cannot take the value.
    """
    if model not in MODELS:
        raise EvaluationError(f"unknown model {model!r}; choose one of {', '.join(MODELS)}")
    if kernel is not None and model != "svc":
        raise EvaluationError(f"the model {model} has no kernel; leave it out, or choose the model svc")
    chosen = (kernel or "linear") if model == "svc" else ""
    if chosen not in ("", *KERNELS):
        raise EvaluationError(f"unknown kernel {chosen!r}; choose one of {', '.join(KERNELS)}")
    has = dict(DEFAULTS[model]) | ({"gamma": GAMMA} if chosen == "rbf" else {})
    what = model + (f" with the kernel {chosen}" if chosen else "")
    for name, value in (given or {}).items():
        if value is None:
            continue
        if name not in has:
            of = f"; it has {', '.join(has)}" if has else "; it has none"
            raise EvaluationError(f"the model {what} has no parameter {name}{of}")
        has[name] = _checked(name, value)
    return Settings(model, chosen, has)


def _checked(name: str, value: float | str) -> float | str:
    if name == "gamma" and value == GAMMA:
        return value
    if isinstance(value, str) or not (math.isfinite(value) and value > 0):
        raise EvaluationError(f"{name} must be a finite number above 0; received {value}")
    if name == "k":
        if value != int(value):
            raise EvaluationError(f"k counts neighbours, so it must be whole; received {value}")
        return int(value)
    return float(value)
