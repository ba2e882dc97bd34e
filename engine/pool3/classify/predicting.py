"""`predict`: a saved model asked about other features."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.classify import data, saving, scoring, tables
from pool3.errors import EvaluationError
from pool3.store import open_features
from pool3.store.outputs import check_output


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PredictResult:
    """What a saved model says of a feature file.

    Attributes:
        ids: (n) ids.
        predictions: (n,) int32 indices into `label_names`.
        decision: (n, K) float64, see `ClassifyResult.decision`.
        label_names: the K classes of the model.
        n_labelled: rows whose label is a class of the model.
        accuracy: share of those predicted right; None where there are none.
        accuracy_interval: its 95 % interval by Wilson; None likewise.
        model: one of `MODELS`.
        parameters: the model's.
        predict_seconds: wall time.
    """

    ids: list[str]
    predictions: NDArray[np.int32]
    decision: NDArray[np.float64] | None
    label_names: tuple[str, ...]
    n_labelled: int
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    model: str
    parameters: dict[str, float | str]
    predict_seconds: float

    def scores(self) -> list[float | None]:
        """(n) the decision score of each predicted class."""
        if self.decision is None:
            return [None] * len(self.ids)
        found: list[float | None] = self.decision[np.arange(len(self.ids)), self.predictions].tolist()
        return found

    def to_dict(self) -> dict[str, Any]:
        """All, JSON-able; the time rounded to the millisecond."""
        counts = np.bincount(self.predictions, minlength=len(self.label_names)).tolist()
        return {
            "rows": len(self.ids),
            "label_names": list(self.label_names),
            "counts": dict(zip(self.label_names, counts, strict=True)),
            "n_labelled": self.n_labelled,
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval) if self.accuracy_interval else None,
            "model": self.model,
            "parameters": self.parameters,
            "predict_seconds": round(self.predict_seconds, 3),
            "predictions": [
                {"id": id_, "predicted": self.label_names[number], "score": score}
                for id_, number, score in zip(self.ids, self.predictions, self.scores(), strict=True)
            ],
        }


def predict(
    model: str | os.PathLike[str],
    features: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> PredictResult:
    """Ask a saved model about every row of a feature file.

    Args:
        model: written by `classify` with `save`.
        features: feature file of the same kind as the one that it was trained on.
        output: ``.csv`` file for the predictions, see `pool3.classify.tables`.
        overwrite: replace it.

    Raises:
        EvaluationError: the model cannot be read or is refused, or the features are of another kind or not finite.
        MissingLibraryError: skops is not installed.
        StoreError: the feature file is damaged, or the output there already.
    """
    if output is not None:
        check_output(Path(output), Path(model), Path(features), overwrite=overwrite)
    saved = saving.load(Path(model))
    with open_features(features) as file:
        _check_kind(saved.kind, saving.kind_of(file), Path(model), file.path)
        if not len(file):
            raise EvaluationError(f"{file.path} has no row to predict")
        x, ids, labels = data.read(file), file.ids, file.labels
        truth = ["" if label < 0 else file.label_names[label] for label in labels]
    start = time.perf_counter()
    answers, decision = saved.model.answer(x)
    seconds = time.perf_counter() - start
    if output is not None:
        tables.write(Path(output), ids, np.arange(len(ids)), truth, answers, decision, saved.label_names)
    known = set(saved.label_names)
    pairs = [saved.label_names[n] == name for n, name in zip(answers, truth, strict=True) if name in known]
    return PredictResult(
        ids=ids,
        predictions=answers.astype(np.int32),
        decision=decision,
        label_names=saved.label_names,
        n_labelled=len(pairs),
        accuracy=sum(pairs) / len(pairs) if pairs else None,
        accuracy_interval=scoring.wilson(sum(pairs), len(pairs)) if pairs else None,
        model=saved.model.settings.model,
        parameters=saved.model.settings.parameters,
        predict_seconds=seconds,
    )


def _check_kind(expected: dict[str, Any], found: dict[str, Any], model: Path, path: Path) -> None:
    differing = [
        f"{name}: {expected.get(name)} → {value}"
        for name, value in found.items()
        if expected.get(name) != value
    ]
    if differing:
        raise EvaluationError(
            f"{model} was trained on features of another kind than those of {path} ({'; '.join(differing)}); "
            "extract them with the settings that the training file had"
        )
