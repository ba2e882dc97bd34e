"""``pool3 export``: features for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    features: Annotated[Path, typer.Argument(metavar="OUT.h5", help="Feature file.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="FILE", help=".npy, .npz, .parquet or .csv.", show_default=False
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--format", help="npy, npz, parquet or csv. Default: by FILE's suffix.", show_default=False
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Rows of this class alone; repeat for several.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing FILE.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Write a feature file's rows as .npy, .npz, Parquet or CSV."""
    from pool3.commands.output import print_json, progress
    from pool3.store import export_features

    with progress("exporting", "rows") as report:
        result = export_features(
            features, output, format=kind, labels=label or None, overwrite=overwrite, progress=report
        )
    if json:
        print_json(result.to_dict())
        return
    print(
        f"{result.output}: {result.rows:,} rows of {result.width:,} {result.dtype} numbers, "
        f"{result.bytes / 2**20:,.1f} MiB of {result.format}"
    )
