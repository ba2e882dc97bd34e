"""Predictions as a CSV file."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pool3.store.disk import written_aside
from pool3.store.outputs import writing

COLUMNS = ("id", "row", "true", "predicted", "score")
"""Of the file; ``score`` is the decision score of the predicted class, empty where the model has none."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a cell begins that spreadsheets run as a formula (OWASP, "CSV Injection")."""


def harmless(text: str) -> str:
    """Text that no spreadsheet runs: an apostrophe goes before what would begin a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def write(
    output: Path,
    ids: Sequence[str],
    rows: NDArray[np.int64],
    truth: Sequence[str],
    predictions: NDArray[np.int32] | NDArray[np.int64],
    decision: NDArray[np.float64] | None,
    names: Sequence[str],
) -> None:
    """Write one line a row; whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    if decision is None:
        scores = [""] * len(ids)
    else:
        scores = [repr(value) for value in decision[np.arange(len(ids)), predictions].tolist()]
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(output) as file:
            table = csv.writer(codecs.getwriter("utf-8")(file))
            table.writerow(COLUMNS)
            for id_, row, true, number, score in zip(
                ids, rows.tolist(), truth, predictions, scores, strict=True
            ):
                table.writerow([harmless(id_), row, harmless(true), harmless(names[number]), score])
