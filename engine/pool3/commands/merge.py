"""``pool3 merge``: several feature files as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def merge(
    features: Annotated[
        list[Path], typer.Argument(metavar="A.h5 B.h5 ...", help="Feature files.", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="ALL.h5", help="Feature file to write.", show_default=False),
    ],
    virtual: Annotated[
        bool, typer.Option("--virtual", help="Leave the features in the files, which have to stay.")
    ] = False,
    prefix_ids: Annotated[
        bool, typer.Option("--prefix-ids", help="Put each file's name before its ids.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing ALL.h5.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Join feature files of the same provenance, one after the other."""
    from pool3.commands.output import counted, print_json, progress
    from pool3.store import merge_features

    with progress("merging") as report:
        result = merge_features(
            features, output, virtual=virtual, prefix_ids=prefix_ids, overwrite=overwrite, progress=report
        )
    if json:
        print_json(result.to_dict())
        return
    where = ", features left in them" if result.virtual else ""
    rows, failures = counted(result.rows, "row"), counted(result.failures, "failure")
    print(f"{result.output}: {rows}, {failures} of {counted(result.files, 'file')}{where}")
