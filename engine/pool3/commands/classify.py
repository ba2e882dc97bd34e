"""``pool3 classify`` and ``pool3 predict``: classifiers on feature files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pool3.commands import classifier as options

if TYPE_CHECKING:
    from pool3.classify import ClassifyResult

_MOST_CLASSES = 20
"""Up to so many classes, the confusion matrix fits on a screen."""


def classify(
    train: Annotated[
        Path, typer.Argument(metavar="TRAIN.h5", help="Feature file to train on.", show_default=False)
    ],
    test: options.Test = None,
    model: options.Model = "svc",
    penalty: options.Penalty = None,
    kernel: options.Kernel = None,
    gamma: options.Gamma = None,
    k: options.K = None,
    grid: options.Grid = None,
    folds: options.Folds = 5,
    backend: options.Backend = "auto",
    predictions: options.Predictions = None,
    save: options.Save = None,
    overwrite: options.Overwrite = False,
    test_fraction: options.TestFraction = 0.5,
    seed: Annotated[int, typer.Option(help="Of that split.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Train a classifier on features and report how well it tells the classes apart."""
    from pool3.classify import classify as run
    from pool3.commands.output import note, print_json, progress, warnings_as_notes

    with warnings_as_notes():
        result = run(
            train,
            test,
            model=model,
            C=penalty,
            kernel=kernel,
            gamma=gamma,
            k=k,
            grid=options.parse_grid(grid or []),
            folds=folds,
            backend=backend,
            test_fraction=test_fraction,
            seed=seed,
            save=save,
            predictions=predictions,
            overwrite=overwrite,
            watch=progress,
        )
    if json:
        print_json(result.to_dict())
        return
    if result.skipped_unlabelled:
        note(f"{result.skipped_unlabelled:,} rows without a label were left out")
    _show(result)


def predict(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Written by classify --save.", show_default=False)
    ],
    features: Annotated[
        Path, typer.Argument(metavar="FEATURES.h5", help="Feature file to ask about.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="OUT.csv", help="Write all here.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing OUT.csv.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Ask a saved model which class each row of a feature file is of."""
    from pool3.classify import predict as run
    from pool3.commands.output import print_aligned, print_json

    result = run(model, features, output=output, overwrite=overwrite).to_dict()
    if json:
        print_json(result)
        return
    shown = {"rows": f"{result['rows']:,}", "model": f"{result['model']} {result['parameters']}"}
    if result["accuracy"] is not None:
        low, high = result["accuracy_interval"]
        shown["accuracy"] = (
            f"{result['accuracy']:.4f} (95 % {low:.4f} to {high:.4f}) on {result['n_labelled']:,} labelled rows"
        )
    print_aligned(shown | {f"class {name}": f"{count:,}" for name, count in result["counts"].items()})


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
    low, high = result.accuracy_interval
    points = result.grid.points if result.grid else ()
    for number, point in enumerate(points):
        best = "  best, refitted" if result.grid and number == result.grid.best else ""
        at = ", ".join(f"{name} = {value:g}" for name, value in point.parameters.items())
        console.print(Text(f"grid      {at}: {point.mean:.4f} ± {point.sd:.4f}{best}"), soft_wrap=True)
    settings = ", ".join(f"{name} = {value}" for name, value in result.parameters.items())
    about = " ".join(filter(None, (result.model, result.kernel, settings)))
    lines = (
        f"accuracy  {result.accuracy:.4f} on {result.n_test:,} rows, trained on {result.n_train:,}",
        f"interval  {low:.4f} to {high:.4f} (95 %, Wilson)",
        f"model     {about}",
        f"backend   {result.backend} {result.backend_version} ({result.backend_reason})",
        f"time      fit {result.fit_seconds:.2f} s, predict {result.predict_seconds:.2f} s",
    )
    for line in lines:
        console.print(Text(line), soft_wrap=True)
