"""``pool3 verify``: whether a feature file is intact, and what its source gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pool3.verification import Verification


def verify(
    output: Annotated[Path, typer.Argument(metavar="OUT.h5", help="Feature file.", show_default=False)],
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="What it was made from: compare every image, and compute a sample of rows anew. "
            "Repeat for several, in their order.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[int, typer.Option(min=0, metavar="N", help="Rows to compute anew.")] = 64,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Chooses the rows.")] = 0,
    weights: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Weights of your own that it was made with.", show_default=False),
    ] = None,
    devices: Annotated[str, typer.Option(help="auto, cpu, gpu or gpu:N.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Check a feature file: its checksums and digests, and with --source the images and a sample of features.

    Exits with 1 where a check fails.
    """
    from pool3.commands.output import note, print_json, printable, progress, warnings_as_notes
    from pool3.runtime import start_tensorflow
    from pool3.sources import open_source
    from pool3.verification import verify as run

    # First, since a mistyped path should not have to wait for TensorFlow.
    images = open_source(list(source)) if source else None
    if images is not None and sample:
        start_tensorflow()
    with warnings_as_notes():
        result = run(
            output, images, sample=sample, seed=seed, weights=weights, devices=devices, watch=progress
        )
    if json:
        print_json(result.to_dict())
    else:
        _show(result)
    if not result.ok:
        note(printable(result.summary))
        raise typer.Exit(1)


def _show(result: Verification) -> None:
    from pool3.commands.output import printable

    width = max(len(check.name) for check in result.checks)
    for check in result.checks:
        print(f"{'ok' if check.ok else 'FAILED':<6}  {check.name:<{width}}  {printable(check.detail)}")
