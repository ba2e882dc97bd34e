"""`report`: feature files → one page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.classify import ClassifyResult, classify
from pool3.classify.scoring import wilson
from pool3.errors import EvaluationError
from pool3.experiments import BLOG_ACCURACY
from pool3.pages import Images, Picture, find_images, write_page
from pool3.reporting.choosing import confusions, examples, truth_of, worst
from pool3.reporting.files import described
from pool3.reporting.page import Pictures, rendered
from pool3.reporting.result import Examples, Mistake, ReportResult
from pool3.sources.cifar import CLASS_NAMES
from pool3.store import FeatureFile, open_features
from pool3.store.outputs import check_output
from pool3.telemetry import StageClock
from pool3.watching import Watch

WORST = 25
"""Mistakes that the page shows."""

PICTURES = 300
"""Pictures of mistakes and examples on a page."""

POINTS = 10_000
"""Rows on the map; of more, a seeded sample."""

PICTURE_SIDE = 128
"""Pixels that the longer side of a picture has at most."""


def report(
    train: str | os.PathLike[str],
    test: str | os.PathLike[str] | None = None,
    *,
    output: str | os.PathLike[str],
    classifier: bool = True,
    tsne: bool = True,
    points: int = POINTS,
    limit: int = PICTURES,
    source: Any = None,
    train_source: Any = None,
    seed: int = 0,
    overwrite: bool = False,
    watch: Watch | None = None,
    **settings: Any,
) -> ReportResult:
    """Write one self-contained page: how feature files came about, and what they are good for.

    Args:
        train: feature file to train on.
        test: feature file to test on; None: a part of `train`.
        output: the page.
        classifier: whether to train one. It takes labels of two classes or more; where they are not there, the page
            says so and has the rest.
        tsne: whether to draw a map of the tested rows.
        points: rows on it; of more, a seeded sample.
        limit: pictures of mistakes and examples on the page; the worst mistakes come first. 0: none at all, also on
            the map.
        source: where the images of the tested file are, as `pool3.sources.open_source` takes it; None: where the file
            says.
        train_source: the same for `train` beside a `test`.
        seed: of the split, the folds, the map and the sample.
        overwrite: replace what is there.
        watch: told how far the work has come.
        settings: for `pool3.classify.classify`: ``model``, ``C``, ``kernel``, ``gamma``, ``k``, ``grid``, ``folds``,
            ``backend``, ``test_fraction``, ``save``, ``predictions``.

    Raises:
        EvaluationError: as for `classify`; or `points` or `limit` is too small.
        SourceError: a source was given and cannot be read.
        MissingLibraryError: the map's library is not installed, or that of pictures from a source that was given.
        StoreError: a file is damaged, or an output there already; `StoreNotFoundError` where there is none.
    """
    output = Path(output)
    inputs = [Path(path) for path in (train, test) if path is not None]
    check_output(output, *inputs, overwrite=overwrite)
    _check(output, points, limit, test, train_source, settings)
    clock = StageClock()
    with clock.stage("total"), ExitStack() as stack:
        learned = stack.enter_context(open_features(train))
        asked = stack.enter_context(open_features(test)) if test is not None else learned
        # First, since a mistyped source should not have to wait for a fit.
        images = find_images(asked, source) if limit else Images(asked, None)
        shown = images
        if asked is not learned:
            shown = find_images(learned, train_source) if limit else Images(learned, None)
        why_not = _no_classes(learned, asked) if classifier else "left out on request"
        answers = None
        if not why_not:
            with clock.stage("classify"):
                answers = classify(train, test, seed=seed, overwrite=overwrite, watch=watch, **settings)
        rows = answers.test_rows if answers is not None and test is None else np.arange(len(asked))
        on_map, no_map = None, "left out on request"
        if tsne:
            from pool3.reporting.mapping import mapped

            with clock.stage("project"):
                on_map, no_map = mapped(asked, rows, answers, points=points, seed=seed, watch=watch)
        mistakes = worst(answers, asked, WORST) if answers is not None else []
        some = examples(learned, max(0, limit - min(len(mistakes), limit)))
        with clock.stage("pictures"):
            pictures = _pictures(images, shown, mistakes[:limit], some, watch)
            sprites = on_map.sprites(images, watch) if on_map is not None and limit else None
        facts = [described(train, "train" if test is not None else "all")]
        if test is not None:
            facts.append(described(test, "test"))
        result = ReportResult(
            output=output,
            bytes=0,
            files=tuple(facts),
            classification=_classification(answers, asked),
            no_classification=why_not,
            mistakes=tuple(mistakes),
            examples=tuple(some),
            projection=on_map.facts if on_map is not None else None,
            no_projection=no_map,
            pictures=len(pictures.mistakes) + len(pictures.examples),
            picture_notes=_notes(images, shown),
            seconds={},
        )
        page = rendered(result, answers, pictures, on_map, sprites)
        write_page(output, page)
    return replace(result, bytes=output.stat().st_size, seconds=dict(clock.seconds))


def _check(
    output: Path, points: int, limit: int, test: Any, train_source: Any, settings: dict[str, Any]
) -> None:
    if points < 2:
        raise EvaluationError(f"a map has at least 2 points; received {points}")
    if limit < 0:
        raise EvaluationError(f"the limit of pictures is 0 or more; received {limit}")
    if test is None and train_source is not None:
        raise EvaluationError("with one feature file there is one source: give it as the source")
    for name in ("save", "predictions"):
        if settings.get(name) is not None and Path(settings[name]).resolve() == output.resolve():
            raise EvaluationError(f"{output} cannot hold both the page and the {name}; name two files")


def _no_classes(learned: FeatureFile, asked: FeatureFile) -> str:
    """Why there is nothing to tell apart; empty where there is."""
    for file in (learned, asked):
        if not (file.labels >= 0).any():
            return f"no row of {file.path.name} has a label"
    present = np.unique(learned.labels[learned.labels >= 0])
    if len(present) < 2:
        name = learned.label_names[present[0]]
        return f"all rows of {learned.path.name} are of one class, {name}"
    return ""


def _pictures(
    images: Images, shown: Images, mistakes: Sequence[Mistake], some: Sequence[Examples], watch: Watch | None
) -> Pictures:
    """Each image is read once; mistakes and examples may come from the same file."""
    wrong = np.array([mistake.row for mistake in mistakes], np.int64)
    good = np.array([row for entry in some for row in entry.rows], np.int64)
    if images is shown:
        both = images.pictures(np.unique(np.concatenate([wrong, good])), PICTURE_SIDE, watch)
        return Pictures(_of(both, wrong), _of(both, good))
    return Pictures(images.pictures(wrong, PICTURE_SIDE, watch), shown.pictures(good, PICTURE_SIDE, watch))


def _of(pictures: dict[int, Picture], rows: NDArray[np.int64]) -> dict[int, Picture]:
    return {row: pictures[row] for row in rows.tolist() if row in pictures}


def _notes(images: Images, shown: Images) -> tuple[str, ...]:
    different = [images] if images is shown else [shown, images]
    return tuple(f"{each.file.path.name}: {each.note}" for each in different if each.note)


def _classification(answers: ClassifyResult | None, asked: FeatureFile) -> dict[str, Any] | None:
    if answers is None:
        return None
    matrix = answers.confusion_matrix
    right, support = np.diag(matrix).tolist(), matrix.sum(axis=1).tolist()
    return answers.to_dict() | {
        "recall_intervals": [list(wilson(r, n)) if n else None for r, n in zip(right, support, strict=True)],
        "confusions": [
            {name: getattr(one, name) for name in one.__slots__}
            for one in confusions(answers.label_names, matrix)
        ],
        "mistakes": int((truth_of(answers, asked) != answers.predictions).sum()),
        "blog_accuracy": BLOG_ACCURACY,
        "cifar10": set(answers.label_names) == set(CLASS_NAMES),
    }
