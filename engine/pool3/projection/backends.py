"""The implementations of the methods: which are here, which is taken and why."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from pool3.classify.backends import Choice, Found
from pool3.classify.backends import look as look_for_classifier
from pool3.errors import EvaluationError, MissingLibraryError

BACKENDS = ("auto", "cuml", "opentsne", "umap-learn", "sklearn")
"""What may be asked for; ``auto`` takes the first of the others that is here and has the method."""

SUPPORTED = {
    "cuml": ("tsne", "umap"),
    "opentsne": ("tsne",),
    "umap-learn": ("umap",),
    "sklearn": ("tsne", "pca"),
}
"""Backend → its methods."""

_NAMES = {"cuml": "cuML", "opentsne": "openTSNE", "umap-learn": "umap-learn", "sklearn": "scikit-learn"}
_PARAMETRIC = "umap.parametric_umap"
_EXTRAS = {"cuml": "gpu", "opentsne": "report", "umap-learn": "umap"}


def look(backend: str) -> Found:
    """Find out whether a backend can be used here."""
    if backend in ("opentsne", "umap-learn"):
        try:
            importlib.import_module("openTSNE") if backend == "opentsne" else import_umap()
        except ImportError as error:
            return Found(missing=f"cannot be imported ({error})")
        return Found(version=version(_NAMES[backend]))
    return look_for_classifier(backend)


def import_umap() -> Any:
    """The module ``umap``, without its parametric variant, which would load TensorFlow for nothing.

    Raises:
        ImportError: umap-learn is not installed.
    """
    if "umap" not in sys.modules:
        sys.modules[_PARAMETRIC] = None  # type: ignore[assignment] # what the import system takes for "not there"
        try:
            importlib.import_module("umap")
        finally:
            del sys.modules[_PARAMETRIC]
    return importlib.import_module("umap")


def choose(backend: str, method: str, found: Mapping[str, Found] | None = None) -> Choice:
    """Choose what runs a method.

    Args:
        backend: one of `BACKENDS`.
        method: one of `pool3.projection.methods.METHODS`.
        found: what is here, by backend; None: look.

    Raises:
        EvaluationError: the backend is unknown, or asked for by name and without the method.
        MissingLibraryError: the backend asked for, or every one that has the method, cannot be used.
    """
    if backend not in BACKENDS:
        raise EvaluationError(f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    having = [name for name in BACKENDS[1:] if method in SUPPORTED[name]]
    if backend != "auto":
        if backend not in having:
            raise EvaluationError(
                f"the backend {backend} does not have the method {method}; choose {' or '.join(having)}, or auto"
            )
        here = found[backend] if found is not None else look(backend)
        if not here.version:
            raise MissingLibraryError(f"the backend {backend} {here.missing}; {_install(backend)}")
        return Choice(backend, here.version, "asked for")
    passed: list[str] = []
    for name in having:
        here = found[name] if found is not None else look(name)
        if here.version:
            why = "scikit-learn is always there" if name == "sklearn" else f"{_NAMES[name]} is installed"
            return Choice(name, here.version, "; ".join(["auto: " + why, *passed]))
        passed.append(f"{_NAMES[name]} {here.missing}")
    raise MissingLibraryError(f"no backend can run {method}: {'; '.join(passed)}; {_install(having[-1])}")


def _install(backend: str) -> str:
    return f"install it by pip install 'pool3[{_EXTRAS.get(backend, 'report')}]'"
