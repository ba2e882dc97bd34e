"""Fitted models as files without pickle: skops' zip of a JSON schema and arrays, from which nothing is run."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3._version import __version__
from pool3.classify.backends import Choice, make_model
from pool3.classify.fitting import Classifier
from pool3.classify.models import settings
from pool3.comparable import SAME_FEATURES
from pool3.errors import EvaluationError, MissingLibraryError
from pool3.store import FeatureFile
from pool3.store.disk import written_aside
from pool3.store.outputs import writing

FORMAT = "pool3 classifier 1"
"""First entry of a saved model."""

TYPES = frozenset(
    {
        "builtins.bool",
        "builtins.dict",
        "builtins.float",
        "builtins.int",
        "builtins.list",
        "builtins.str",
        "builtins.tuple",
        "numpy.bool",
        "numpy.dtype",
        "numpy.float64",
        "numpy.int64",
        "numpy.ndarray",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.neighbors._classification.KNeighborsClassifier",
        "sklearn.neighbors._nearest_centroid.NearestCentroid",
        "sklearn.svm._classes.LinearSVC",
        "sklearn.svm._classes.SVC",
    }
)
"""All that a saved model may be made of; `load` refuses a file that names anything else before it builds any of it."""

LOADERS = frozenset(
    {"DictNode", "JsonNode", "ListNode", "NdArrayNode", "ObjectNode", "TupleNode", "TypeNode", "DTypeNode"}
)
"""skops' nodes that may build them: none that imports functions, methods or modules."""

_ESTIMATORS = {
    "svc": "SVC",
    "linear-svc": "LinearSVC",
    "logistic": "LogisticRegression",
    "knn": "KNeighborsClassifier",
    "centroid": "NearestCentroid",
}
_MOST_SCHEMA = 64 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """A model that was loaded: the classifier, its classes' names, and the kind of features that it takes."""

    model: Classifier
    label_names: tuple[str, ...]
    kind: dict[str, Any]


def kind_of(file: FeatureFile) -> dict[str, Any]:
    """What other features must share to be asked about: `SAME_FEATURES` and the width."""
    return {name: str(getattr(file.provenance, name)) for name in SAME_FEATURES} | {
        "width": int(file.features.shape[1])
    }


def check_savable(backend: str) -> None:
    """Refuse, before the fit, a model that could not be saved after it.

    Raises:
        EvaluationError: the backend's models are not converted.
        MissingLibraryError: skops is not installed.
    """
    if backend == "cuml":
        raise EvaluationError(
            "models of cuML are not saved, since their conversion to scikit-learn is not proven exact; "
            "choose --backend intelex or sklearn, or leave out --save"
        )
    _skops()


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise MissingLibraryError(
            f"saved models need skops, which cannot be imported ({error}); pip install 'pool3[models]'"
        ) from error
    return skops.io


def save(
    output: Path,
    model: Classifier,
    names: Sequence[str],
    kind: dict[str, Any],
    x: NDArray[np.float32],
    y: NDArray[np.int64],
) -> None:
    """Write a fitted model; whole or not at all.

    Args:
        output: the file.
        model: of scikit-learn, or of scikit-learn-intelex, which is converted.
        names: of its classes.
        kind: from `kind_of`.
        x: (n, D) that it was fitted on.
        y: (n,) their classes.

    Raises:
        StoreError: it cannot be written.
    """
    content = _skops().dumps(
        {
            "format": FORMAT,
            "model": model.settings.model,
            "kernel": model.settings.kernel,
            "parameters": dict(model.settings.parameters),
            "label_names": list(names),
            "features": kind,
            "pool3": __version__,
            "scikit_learn": version("scikit-learn"),
            "estimator": _plain(model, x, y),
        }
    )
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(output) as file:
            file.write(content)


def _plain(model: Classifier, x: NDArray[np.float32], y: NDArray[np.int64]) -> Any:
    """The estimator as scikit-learn's own: the same numbers, in the places that it reads them from."""
    if model.backend == "sklearn":
        return model.estimator
    plain = make_model(model.settings, Choice("sklearn", "", "")).estimator
    if model.settings.model == "knn":
        return plain.fit(x, y)  # keeps the rows and computes nothing
    fitted = model.estimator
    for name in (
        "classes_",
        "class_weight_",
        "fit_status_",
        "n_features_in_",
        "shape_fit_",
        "_sparse",
        "_gamma",
    ):
        setattr(plain, name, getattr(fitted, name))
    for name in ("support_", "_n_support", "n_iter_"):
        setattr(plain, name, np.asarray(getattr(fitted, name), np.int32))
    for name in ("support_vectors_", "dual_coef_", "intercept_"):
        setattr(plain, name, np.ascontiguousarray(getattr(fitted, name), np.float64))
    # scikit-learn keeps libsvm's signs beside its own, which differ for two classes.
    sign = -1.0 if len(fitted.classes_) == 2 else 1.0
    plain._dual_coef_, plain._intercept_ = sign * plain.dual_coef_, sign * plain.intercept_
    plain._probA = plain._probB = np.empty(0)
    plain._num_iter, plain._effective_probability = plain.n_iter_, False
    return plain


def load(path: Path) -> Saved:
    """Read a saved model.

    Raises:
        EvaluationError: it is none, is damaged, or names a type that no saved model has; nothing of it was run.
        MissingLibraryError: skops is not installed.
    """
    io = _skops()
    if not path.is_file():
        raise EvaluationError(f"there is no model {path}; pool3 classify --save writes one")
    _check_types(path)
    try:
        # Everything named in it is in TYPES by now; skops asks for those that it does not know itself.
        content = io.load(path, trusted=sorted(TYPES & set(io.get_untrusted_types(file=path))))
        saved = _understood(content)
    except EvaluationError:
        raise
    except (Exception, RecursionError) as error:
        raise EvaluationError(
            f"{path} is no model of pool3, or a damaged one ({type(error).__name__}: {error}); save it again"
        ) from error
    return saved


def _check_types(path: Path) -> None:
    """Read the schema as JSON alone and refuse what is not in `TYPES` and `LOADERS`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            # skops compresses nothing by default, so that a small file stays small in memory.
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
            large = archive.getinfo("schema.json").file_size > _MOST_SCHEMA
            found = set() if packed or large else set(_types(json.loads(archive.read("schema.json"))))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, RecursionError, NotImplementedError) as error:
        raise EvaluationError(
            f"{path} is no model of pool3, or a damaged one ({error}); save it again"
        ) from error
    if packed or large:
        raise EvaluationError(f"{path} is no model of pool3: it is compressed, or its schema is too large")
    if strange := sorted(found - TYPES - LOADERS):
        raise EvaluationError(
            f"{path} is refused and nothing of it was run: it names {', '.join(strange[:5])}, "
            "which no model of pool3 is made of"
        )


def _types(node: Any) -> Iterator[str]:
    """All types and loaders that a schema names, at any depth."""
    stack = [node]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if "__class__" in node or "__module__" in node or "__loader__" in node:
                yield f"{node.get('__module__')}.{node.get('__class__')}"
                yield str(node.get("__loader__"))
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def _understood(content: Any) -> Saved:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise EvaluationError(
            "a file of skops that is no model of this pool3; save it again by pool3 classify --save"
        )
    wanted = settings(content["model"], content["kernel"] or None, content["parameters"])
    estimator = content["estimator"]
    names = tuple(map(str, content["label_names"]))
    if type(estimator).__name__ != _ESTIMATORS[wanted.model] or len(estimator.classes_) != len(names):
        raise ValueError("its parts do not fit together")
    return Saved(Classifier(wanted, "sklearn", estimator), names, dict(content["features"]))
