"""``pool3 project``: a map of a feature file, as a page or a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pool3.projection import ProjectResult


def project(
    features: Annotated[
        Path, typer.Argument(metavar="FEATURES.h5", help="Feature file to place.", show_default=False)
    ],
    output: Annotated[
        list[Path],
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="A page (.html) or a picture (.png); repeatable.",
            show_default=False,
        ),
    ],
    method: Annotated[str, typer.Option(help="tsne, umap or pca.")] = "tsne",
    backend: Annotated[str, typer.Option(help="auto, cuml, opentsne, umap-learn or sklearn.")] = "auto",
    pca: Annotated[int, typer.Option(metavar="N", help="Reduce to N components first; 0: do not.")] = 50,
    perplexity: Annotated[
        float | None, typer.Option(help="Of tsne. Default: 30.", show_default=False)
    ] = None,
    neighbours: Annotated[
        int | None, typer.Option(metavar="N", help="Of umap. Default: 15.", show_default=False)
    ] = None,
    min_dist: Annotated[float | None, typer.Option(help="Of umap. Default: 0.1.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Of all that draws.")] = 0,
    limit: Annotated[
        int, typer.Option(metavar="N", help="Place N rows at most, drawn within each class; 0: all.")
    ] = 10_000,
    k: Annotated[int, typer.Option("-k", help="Neighbours of trustworthiness and kNN preservation.")] = 15,
    sample: Annotated[int, typer.Option(metavar="N", help="Rows that are asked for them.")] = 2_000,
    images: Annotated[
        bool | None,
        typer.Option(
            "--images/--no-images",
            help="Show the images; in a PNG, draw them at their places. Default: in pages.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE", help="Where they are. Default: what FEATURES.h5 records.", show_default=False
        ),
    ] = None,
    coordinates: Annotated[
        Path | None,
        typer.Option(metavar="OUT.csv", help="Write each row's place: row,id,label,x,y.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Place a feature file's rows in the plane (t-SNE, UMAP, PCA) and draw them, with their images on hover."""
    from pool3.commands.output import note, print_json, progress, warnings_as_notes
    from pool3.projection import project as run

    with warnings_as_notes():
        result = run(
            features,
            output,
            method=method,
            backend=backend,
            pca=pca,
            perplexity=perplexity,
            neighbours=neighbours,
            min_dist=min_dist,
            seed=seed,
            limit=limit,
            k=k,
            sample=sample,
            images=images,
            source=source or None,
            coordinates=coordinates,
            overwrite=overwrite,
            watch=progress,
        )
    if result.images_note:
        note(result.images_note)
    if json:
        print_json(result.to_dict())
    else:
        _show(result)


def _show(result: ProjectResult) -> None:
    from pool3.commands.output import counted, print_aligned

    quality = result.quality
    rows = counted(len(result.rows), "row")
    if len(result.rows) < result.n_total:
        rows += f" of {result.n_total:,}, drawn within each class (--limit 0 takes all)"
    kept = "" if result.pca_variance is None else f"{100 * result.pca_variance:.1f} % of the variance"
    asked = f"k = {quality.k}, {counted(quality.rows, 'row')} asked"
    print_aligned(
        {
            "rows": rows,
            "method": result.settings.described(),
            "backend": f"{result.backend} {result.backend_version} ({result.backend_reason})",
            "PCA kept": kept,
            "trustworthiness": f"{quality.trustworthiness:.4f} ({asked})",
            "kNN preservation": f"{quality.knn_preservation:.4f} ({asked})",
            "images": "" if result.images_shown is None else f"{result.images_shown:,} shown",
            "time": ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in result.seconds.items()),
            "written": ", ".join(map(str, result.outputs)),
        }
    )
