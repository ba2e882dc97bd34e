"""``pool3 fid`` and ``pool3 inception-score``: distances between feature files, and a score of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pool3.metrics import Distances


def fid(
    reference: Annotated[
        Path,
        typer.Argument(metavar="REFERENCE.h5", help="Features of the real images.", show_default=False),
    ],
    generated: Annotated[
        Path,
        typer.Argument(metavar="GENERATED.h5", help="Features of the others.", show_default=False),
    ],
    kid: Annotated[bool, typer.Option("--kid", help="The kernel distance too.")] = False,
    kid_subsets: Annotated[int, typer.Option(min=1, metavar="N", help="Subsets for it.")] = 100,
    kid_subset_size: Annotated[int, typer.Option(min=2, metavar="N", help="Rows in each.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, metavar="S", help="Draws these subsets.")] = 2020,
    prdc: Annotated[
        bool, typer.Option("--prdc", help="Precision, recall, density and coverage too.")
    ] = False,
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbours for these.")] = 5,
    force: Annotated[
        bool, typer.Option("--force", help="Compare files whose settings differ; written into the result.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """How far two sets of features are apart: the Fréchet distance (FID), and more where asked for."""
    from pool3.commands.output import print_json, progress, warnings_as_notes
    from pool3.metrics import distances

    with warnings_as_notes():
        result = distances(
            reference,
            generated,
            kid=kid,
            kid_subsets=kid_subsets,
            kid_subset_size=kid_subset_size,
            seed=seed,
            prdc=prdc,
            k=k,
            force=force,
            watch=progress,
        )
    if json:
        print_json(result.to_dict())
    else:
        _show(result)


def _show(result: Distances) -> None:
    from pool3.commands.output import counted, print_aligned

    rows = {"fid": f"{result.fid:.6g}"}
    if result.kid is not None:
        kid = result.kid
        rows["kid"] = (
            f"{kid.mean:.6g} ± {kid.std:.2g} over {counted(kid.subsets, 'subset')} of {kid.subset_size:,}, "
            f"seed {kid.seed}"
        )
    if result.prdc is not None:
        near = result.prdc
        for name in ("precision", "recall", "density", "coverage"):
            rows[name] = f"{getattr(near, name):.4f} (k = {near.k})"
    for name, side in (("reference", result.reference), ("generated", result.generated)):
        rows[name] = f"{side.path}: {counted(side.rows, 'row')}"
    settings = result.reference.settings
    rows["features"] = f"{settings['backbone']} {settings['feature']}, {result.width:,} numbers a row"
    rows["forced"] = "; ".join(result.differences)
    print_aligned(rows)


def inception_score(
    features: Annotated[
        Path,
        typer.Argument(metavar="SOFTMAX.h5", help="Feature file of softmax or logits.", show_default=False),
    ],
    splits: Annotated[int, typer.Option(min=1, metavar="N", help="Parts to take it over.")] = 10,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, metavar="S", help="Shuffles the rows before.")
    ] = 2020,
    no_shuffle: Annotated[
        bool, typer.Option("--no-shuffle", help="Take the parts in the file's order.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """The Inception score of images, from their class probabilities (extract --feature softmax)."""
    from pool3.commands.output import print_aligned, print_json, progress
    from pool3.metrics import inception_score as run

    result = run(features, splits=splits, seed=None if no_shuffle else seed, watch=progress)
    if json:
        print_json(result.to_dict())
        return
    order = "in the file's order" if result.seed is None else f"seed {result.seed}"
    print_aligned(
        {
            "inception score": f"{result.mean:.6g} ± {result.std:.2g} over {result.splits} parts, {order}",
            "features": f"{result.path}: {result.rows:,} rows of {result.classes:,} classes ({result.feature})",
        }
    )
