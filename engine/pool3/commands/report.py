"""``pool3 report``: one page of evidence from feature files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pool3.commands import classifier as options


def report(
    train: Annotated[
        Path, typer.Argument(metavar="TRAIN.h5", help="Feature file to train on.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT.html", help="The page.", show_default=False)
    ],
    test: options.Test = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE",
            help="Where the images of the tested file are, if not where it says; repeatable.",
            show_default=False,
        ),
    ] = None,
    train_source: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="The same for TRAIN.h5 beside a TEST.h5.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(help="Pictures of mistakes and examples; 0: none at all.")] = 300,
    points: Annotated[int, typer.Option(help="Rows on the map; of more, a seeded sample.")] = 10_000,
    tsne: Annotated[bool, typer.Option("--tsne/--no-tsne", help="Draw a map of the tested rows.")] = True,
    classifier: Annotated[
        bool, typer.Option("--classify/--no-classify", help="Train a classifier on the labels.")
    ] = True,
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
    seed: Annotated[int, typer.Option(help="Of the split, the folds and the map.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Write one self-contained HTML page: the run, the accuracy, mistakes, examples, a map, failures."""
    from pool3.commands.output import note, print_json, progress, warnings_as_notes
    from pool3.reporting import report as run

    with warnings_as_notes():
        result = run(
            train,
            test,
            output=output,
            classifier=classifier,
            tsne=tsne,
            points=points,
            limit=limit,
            source=source or None,
            train_source=train_source or None,
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
    for text in result.picture_notes:
        note(text)
    found = result.classification
    if found:
        low, high = found["accuracy_interval"]
        print(f"accuracy  {found['accuracy']:.4f} (95 % {low:.4f} to {high:.4f}) on {found['n_test']:,} rows")
    else:
        note(f"no classifier: {result.no_classification}")
    if result.no_projection and tsne:
        note(f"no map: {result.no_projection}")
    print(f"page      {result.output}, {result.bytes / 2**20:.1f} MiB, {result.pictures} pictures")
    print(f"time      {result.seconds['total']:.1f} s")
