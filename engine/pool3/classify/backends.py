"""The implementations of the models: which are here, which is taken and why, and the estimators they give."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pool3.classify.fitting import Classifier
from pool3.classify.models import MODELS, Settings
from pool3.errors import EvaluationError

BACKENDS = ("auto", "cuml", "intelex", "sklearn")
"""What may be asked for; ``auto`` takes the first of the others that is here and has the model."""

SUPPORTED = {"cuml": ("svc", "linear-svc", "logistic", "knn"), "intelex": ("svc", "knn"), "sklearn": MODELS}
"""Backend → its models. scikit-learn-intelex hands logistic regression of several classes to scikit-learn on a CPU."""

_NAMES = {"cuml": "cuML", "intelex": "scikit-learn-intelex", "sklearn": "scikit-learn"}
_EXTRAS = {"cuml": "gpu", "intelex": "intelex"}


@dataclass(frozen=True, slots=True)
class Found:
    """A backend's version where it can be used, else empty and what is missing."""

    version: str = ""
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend that runs, its version, and why it is that one."""

    backend: str
    version: str
    reason: str


def look(backend: str) -> Found:
    """Find out whether a backend can be used here."""
    try:
        if backend == "cuml":
            importlib.import_module("cuml")
            if importlib.import_module("cupy").cuda.runtime.getDeviceCount() < 1:
                return Found(missing="there is no GPU that it can use")
        elif backend == "intelex":
            importlib.import_module("sklearnex.svm")
    except ImportError as error:
        return Found(missing=f"cannot be imported ({error})")
    except (RuntimeError, OSError) as error:  # of CUDA, where its driver or a GPU is missing
        return Found(missing=f"cannot use a GPU ({error})")
    return Found(version=_version(backend))


def _version(backend: str) -> str:
    if backend == "cuml":
        return str(importlib.import_module("cuml").__version__)
    try:
        return version(_NAMES[backend])
    except PackageNotFoundError:
        return "unknown"


def choose(backend: str, model: str, found: Mapping[str, Found] | None = None) -> Choice:
    """Choose what runs a model.

    Args:
        backend: one of `BACKENDS`.
        model: one of `MODELS`.
        found: what is here, by backend; None: look.

    Raises:
        EvaluationError: the backend is unknown, or asked for by name and not usable or without the model.
    """
    if backend not in BACKENDS:
        raise EvaluationError(f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    if backend != "auto":
        return _asked_for(backend, model, found)
    passed = []
    for name in BACKENDS[1:]:
        if model not in SUPPORTED[name]:
            passed.append(f"{_NAMES[name]} does not have {model}")
            continue
        here = found[name] if found is not None else look(name)
        if here.version:
            why = f"{_NAMES[name]} is installed" if name != "sklearn" else "scikit-learn is always there"
            return Choice(name, here.version, "; ".join(["auto: " + why, *passed]))
        passed.append(f"{_NAMES[name]} {here.missing}")
    raise EvaluationError(f"no backend can run {model}: {'; '.join(passed)}; install scikit-learn")


def _asked_for(backend: str, model: str, found: Mapping[str, Found] | None) -> Choice:
    if model not in SUPPORTED[backend]:
        others = [name for name in SUPPORTED if model in SUPPORTED[name]]
        raise EvaluationError(
            f"the backend {backend} does not have the model {model}; choose {' or '.join(others)}, or auto"
        )
    here = found[backend] if found is not None else look(backend)
    if not here.version:
        raise EvaluationError(
            f"the backend {backend} {here.missing}; install it by "
            f"pip install 'pool3[{_EXTRAS.get(backend, 'models')}]', or choose another"
        )
    return Choice(backend, here.version, "asked for")


def make_model(wanted: Settings, choice: Choice, *, seed: int = 0) -> Classifier:
    """Make the model that is to be fitted.

    Args:
        wanted: the model and its parameters.
        choice: from `choose`.
        seed: of those solvers that draw.
    """
    make = {"cuml": _cuml, "intelex": _intelex, "sklearn": _sklearn}[choice.backend]
    return Classifier(wanted, choice.backend, make(wanted, seed))


def _svc(wanted: Settings) -> dict[str, Any]:
    return {"kernel": wanted.kernel, **wanted.parameters}


def _sklearn(wanted: Settings, seed: int) -> Any:
    values = wanted.parameters
    if wanted.model == "svc":
        from sklearn.svm import SVC

        return SVC(**_svc(wanted), decision_function_shape="ovo")
    if wanted.model == "linear-svc":
        from sklearn.svm import LinearSVC

        return LinearSVC(C=values["C"], dual="auto", random_state=seed)
    if wanted.model == "logistic":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=values["C"], max_iter=1000)
    if wanted.model == "knn":
        from sklearn.neighbors import KNeighborsClassifier

        return KNeighborsClassifier(n_neighbors=values["k"], algorithm="brute")
    from sklearn.neighbors import NearestCentroid

    return NearestCentroid()


def _intelex(wanted: Settings, _seed: int) -> Any:
    if wanted.model == "svc":
        from sklearnex.svm import SVC

        return SVC(**_svc(wanted), decision_function_shape="ovo")
    from sklearnex.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(n_neighbors=wanted.parameters["k"], algorithm="brute")


def _cuml(wanted: Settings, _seed: int) -> Any:
    values = wanted.parameters
    if wanted.model == "svc":
        from cuml.svm import SVC

        return SVC(**_svc(wanted), output_type="numpy")
    if wanted.model == "linear-svc":
        from cuml.svm import LinearSVC

        return LinearSVC(C=values["C"], output_type="numpy")
    if wanted.model == "logistic":
        from cuml.linear_model import LogisticRegression

        return LogisticRegression(C=values["C"], max_iter=1000, output_type="numpy")
    from cuml.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(n_neighbors=values["k"], output_type="numpy")
