"""Which rows a report shows, and which figures it takes from a classifier's answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pool3.classify import ClassifyResult
from pool3.reporting.result import Confusion, Examples, Mistake
from pool3.store import FeatureFile

MOST_CONFUSIONS = 20
"""Pairs of classes that the page names."""

MOST_EXAMPLES = 8
"""Pictures of a class."""

UNLABELLED_EXAMPLES = 24
"""Pictures of a file without labels."""


def truth_of(result: ClassifyResult, file: FeatureFile) -> NDArray[np.int64]:
    """(n_test,) the true class of each tested row, as a place in `result.label_names`."""
    place = {name: i for i, name in enumerate(result.label_names)}
    of_label = np.array([place.get(name, -1) for name in file.label_names], np.int64)
    return of_label[file.labels[result.test_rows]]


def worst(result: ClassifyResult, file: FeatureFile, most: int) -> list[Mistake]:
    """The wrong decisions that were the most certain: by decreasing margin, then by row.

    The margin is the decision score of the predicted class less that of the true class, in the model's own unit; see
    `ClassifyResult.decision`. Without scores the first mistakes in the order of the file.
    """
    truth, predicted = truth_of(result, file), result.predictions
    wrong = np.flatnonzero(truth != predicted)
    margins = None
    if result.decision is not None:
        margins = result.decision[wrong, predicted[wrong]] - result.decision[wrong, truth[wrong]]
        order = np.argsort(-margins, kind="stable")[:most]
        wrong, margins = wrong[order], margins[order]
    ids, names = file.ids, result.label_names
    return [
        Mistake(
            row=int(result.test_rows[i]),
            id=ids[result.test_rows[i]],
            true=names[truth[i]],
            predicted=names[predicted[i]],
            margin=None if margins is None else float(margins[n]),
        )
        for n, i in enumerate(wrong[:most].tolist())
    ]


def confusions(names: Sequence[str], matrix: NDArray[np.int64]) -> list[Confusion]:
    """The pairs of classes that are most often taken for one another, the most frequent first."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
    found = []
    for true, predicted in zip(
        *(part.tolist() for part in np.unravel_index(order, wrong.shape)), strict=True
    ):
        if count := int(wrong[true, predicted]):
            share = count / int(matrix[true].sum())
            found.append(Confusion(names[true], names[predicted], count, share))
    return found


def examples(file: FeatureFile, most: int) -> list[Examples]:
    """Rows of each class, evenly spread; of a file without labels, of all rows.

    Args:
        file: where they come from.
        most: rows in all; where there are more classes, the first of them have one each.
    """
    labels = file.labels
    present = [label for label in range(len(file.label_names)) if (labels == label).any()]
    if not present:
        rows = np.arange(len(file))
        return [_some(file, None, rows, min(most, UNLABELLED_EXAMPLES))] if len(rows) and most else []
    each = min(MOST_EXAMPLES, max(1, most // len(present)))
    return [
        _some(file, file.label_names[label], np.flatnonzero(labels == label), each)
        for label in present[:most]
    ]


def _some(file: FeatureFile, name: str | None, rows: NDArray[np.int64], most: int) -> Examples:
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64))].tolist()
    ids = file.ids
    return Examples(name, tuple(chosen), tuple(ids[row] for row in chosen), len(rows))
