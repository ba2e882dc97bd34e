"""The arguments of a classifier, for each command that trains one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Test = Annotated[
    Path | None,
    typer.Argument(
        metavar="[TEST.h5]", help="Feature file to test on. Default: a part of TRAIN.h5.", show_default=False
    ),
]
Model = Annotated[str, typer.Option(help="svc, linear-svc, logistic, knn or centroid.")]
Penalty = Annotated[
    float | None, typer.Option("-C", help="Penalty of svc, linear-svc and logistic. Default: 0.1.")
]
Kernel = Annotated[
    str | None, typer.Option(help="Of svc: linear or rbf. Default: linear.", show_default=False)
]
Gamma = Annotated[float | None, typer.Option(help="Of svc with the kernel rbf. Default: scale.")]
K = Annotated[int | None, typer.Option("-k", help="Neighbours of knn. Default: 5.")]
Grid = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=V,V…", help="Values to try by cross-validation, as C=0.01,0.1; repeatable."),
]
Folds = Annotated[int, typer.Option(help="Of that cross-validation.")]
Backend = Annotated[str, typer.Option(help="auto, cuml, intelex or sklearn.")]
Predictions = Annotated[
    Path | None, typer.Option(metavar="OUT.csv", help="Write each row's prediction.", show_default=False)
]
Save = Annotated[
    Path | None, typer.Option(metavar="MODEL", help="Write the fitted model.", show_default=False)
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace these files.")]
TestFraction = Annotated[float, typer.Option(help="Share to test on where there is one file.")]


def parse_grid(given: list[str]) -> dict[str, list[float]]:
    """Parameter → values, of ``NAME=V,V``.

    Raises:
        EvaluationError: one is not of this form, or a parameter is given twice.
    """
    from pool3.errors import EvaluationError

    found: dict[str, list[float]] = {}
    for text in given:
        name, _, values = text.partition("=")
        try:
            numbers = [float(value) for value in values.split(",")]
        except ValueError as error:
            raise EvaluationError(f"--grid takes NAME=V,V as in C=0.01,0.1; received {text!r}") from error
        if name in found:
            raise EvaluationError(f"--grid has {name} twice; give all its values at once")
        found[name] = numbers
    return found
