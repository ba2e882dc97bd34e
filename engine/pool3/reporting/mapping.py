"""The map of a report: a t-SNE of the tested rows, coloured by class, with what each was predicted as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.classify import ClassifyResult
from pool3.pages import Images, Scatter, Sprites, make_sprites
from pool3.projection import ProjectResult, project
from pool3.store import FeatureFile
from pool3.watching import Watch

FEWEST = 5
"""Rows that a t-SNE needs to say anything."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """A map.

    Attributes:
        result: the projection.
        facts: its figures, `ProjectResult.to_dict`, and ``told``, a sentence.
        file: whose rows are on it.
        predicted: (N,) what each row of the file was wrongly predicted as; empty where it was right, or not tested.
    """

    result: ProjectResult
    facts: dict[str, Any]
    file: FeatureFile
    predicted: list[str]

    def sprites(self, images: Images, watch: Watch | None) -> Sprites:
        """The points' pictures."""
        return make_sprites(images, self.result.rows, watch=watch)

    def data(self, sprites: Sprites | None) -> dict[str, Any]:
        """What the template draws, JSON-able."""
        rows, ids = self.result.rows, self.file.ids
        return Scatter(
            places=self.result.places,
            ids=[ids[row] for row in rows],
            classes=self.file.labels[rows],
            class_names=self.file.label_names,
            sprites=sprites,
            details=[self.predicted[row] and f"predicted: {self.predicted[row]}" for row in rows],
        ).data()


def mapped(
    file: FeatureFile,
    rows: NDArray[np.int64],
    answers: ClassifyResult | None,
    *,
    points: int,
    seed: int,
    watch: Watch | None,
) -> tuple[Mapped | None, str]:
    """Place rows in the plane.

    Args:
        file: the feature file.
        rows: (n,) its rows to place.
        answers: what a classifier said of rows of the file.
        points: most rows on the map.
        seed: of the sample and the map.
        watch: told of how far it has come.

    Returns:
        The map or None, and why there is none.

    Raises:
        EvaluationError: a feature is not finite.
        MissingLibraryError: the library for t-SNE is not installed.
    """
    if len(rows) < FEWEST:
        return None, f"a map of {len(rows)} rows would say nothing"
    result = project(file.path, rows=rows, seed=seed, limit=points, watch=watch)
    predicted = [""] * len(file)
    if answers is not None:
        truth = [file.label_names[label] for label in file.labels[answers.test_rows]]
        for row, true, said in zip(answers.test_rows.tolist(), truth, answers.predictions, strict=True):
            if answers.label_names[said] != true:
                predicted[row] = answers.label_names[said]
    return Mapped(result, result.to_dict() | {"told": _told(result)}, file, predicted), ""


def _told(result: ProjectResult) -> str:
    shown, total, judged = len(result.rows), result.n_total, result.quality
    return (
        f"{shown:,}{'' if shown == total else f' of {total:,}'} rows by {result.settings.described()}, with "
        f"{result.backend} {result.backend_version}; trustworthiness {judged.trustworthiness:.4f}, kNN preservation "
        f"{judged.knn_preservation:.4f} (k = {judged.k}, asked of {judged.rows:,} rows). Neighbours on the map have "
        "similar features; distances between groups and their sizes mean little."
    )
