"""``pool3 classify``: a support vector machine on feature files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pool3.classify import ClassifyResult

_MOST_CLASSES = 20
"""Up to so many classes, the confusion matrix fits on a screen."""


def classify(
    train: Annotated[
        Path, typer.Argument(metavar="TRAIN.h5", help="Feature file to train on.", show_default=False)
    ],
    test: Annotated[
        Path | None,
        typer.Argument(
            metavar="[TEST.h5]",
            help="Feature file to test on. Default: a part of TRAIN.h5.",
            show_default=False,
        ),
    ] = None,
    penalty: Annotated[float, typer.Option("-C", help="Penalty of the SVM.")] = 0.1,
    kernel: Annotated[str, typer.Option(help="linear or rbf.")] = "linear",
    backend: Annotated[str, typer.Option(help="auto, sklearn or intelex.")] = "auto",
    test_fraction: Annotated[float, typer.Option(help="Share to test on where there is one file.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Of that split.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Train a support vector machine on features and report how well it tells the classes apart."""
    from pool3.classify import classify as run
    from pool3.commands.output import note, print_json, warnings_as_notes

    with warnings_as_notes():
        result = run(
            train, test, C=penalty, kernel=kernel, backend=backend, test_fraction=test_fraction, seed=seed
        )
    if json:
        print_json(result.to_dict())
        return
    if result.skipped_unlabelled:
        note(f"{result.skipped_unlabelled:,} rows without a label were left out")
    _show(result)


def _show(result: ClassifyResult) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    # Text, since rich would read square brackets in names as its own markup.
    scores = Table("class", box=None, pad_edge=False)
    for name in ("precision", "recall", "f1", "support"):
        scores.add_column(name, justify="right")
    for score in result.per_class:
        numbers = (f"{value:.4f}" for value in (score.precision, score.recall, score.f1))
        scores.add_row(Text(score.name), *numbers, f"{score.support:,}")
    console.print(scores)
    console.print()
    if len(result.label_names) <= _MOST_CLASSES:
        confusion = Table("true \\ predicted", box=None, pad_edge=False)
        for name in result.label_names:
            confusion.add_column(Text(name), justify="right")
        for name, row in zip(result.label_names, result.confusion_matrix, strict=True):
            confusion.add_row(Text(name), *map(str, row))
        console.print(confusion)
        console.print()
    lines = (
        f"accuracy  {result.accuracy:.4f} on {result.n_test:,} rows, trained on {result.n_train:,}",
        f"svm       {result.kernel} kernel, C = {result.C:g}",
        f"backend   {result.backend} {result.backend_version} ({result.backend_reason})",
        f"time      fit {result.fit_seconds:.2f} s, predict {result.predict_seconds:.2f} s",
    )
    for line in lines:
        console.print(Text(line), soft_wrap=True)
