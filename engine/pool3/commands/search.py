"""``pool3 neighbours`` and ``pool3 dedup``: search in feature files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pool3.search import Duplicates, Neighbours

_SHOWN = 20
"""Queries, or groups, that are shown; all are in the file and in the JSON."""


def neighbours(
    query: Annotated[
        str,
        typer.Argument(
            metavar="QUERY",
            help="Feature file; or images, as `extract` takes them: embedded first, as FEATURES.h5 was.",
            show_default=False,
        ),
    ],
    features: Annotated[
        Path, typer.Argument(metavar="FEATURES.h5", help="Feature file to search.", show_default=False)
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbours of each row.")] = 10,
    metric: Annotated[str, typer.Option(help="cosine (1 - the cosine) or euclidean.")] = "cosine",
    backend: Annotated[str, typer.Option(help="exact, or faiss (its flat index) where installed.")] = "exact",
    without_self: Annotated[
        bool,
        typer.Option("--without-self", help="Where QUERY is FEATURES.h5 itself: leave out each row itself."),
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Weights of your own that FEATURES.h5 was made with.", show_default=False
        ),
    ] = None,
    devices: Annotated[
        str, typer.Option(help="Where images are embedded: auto, cpu, gpu or gpu:N.")
    ] = "auto",
    force: Annotated[
        bool, typer.Option("--force", help="Compare files whose settings differ; written into the result.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write all as .csv or .json.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing FILE.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Find the nearest rows of a feature file to each image or row of a query; every row is compared."""
    from pool3.commands.output import note, print_json, progress, warnings_as_notes
    from pool3.search import neighbours as run
    from pool3.search import writing
    from pool3.search.query import check_search
    from pool3.store import open_features

    # First, since a mistyped option should not have to wait for images to be embedded.
    check_search(metric, backend)
    if output is not None:
        writing.check(output, features, Path(query), overwrite=overwrite)
    with open_features(features) as file:
        count = len(file)
    with warnings_as_notes(), _embedded(query, features, weights, devices) as queries:
        result = run(
            queries,
            features,
            k,
            metric=metric,
            backend=backend,
            without_self=without_self,
            force=force,
            watch=progress,
        )
    if result.forced:
        note(f"forced: the features differ in kind ({'; '.join(result.differences)})")
    if output is not None:
        writing.write(result, output)
        note(f"{len(result.query_ids):,} queries in {count:,} rows: written to {output}")
    if json:
        print_json(result.to_dict())
    elif output is None:
        _show_neighbours(result)


@contextmanager
def _embedded(query: str, features: Path, weights: str | None, devices: str) -> Iterator[Path]:
    """The feature file of a query: itself, or one that is made of images and lives as long as the block."""
    import tempfile

    import h5py

    if Path(query).is_file() and h5py.is_hdf5(query):
        yield Path(query)
        return
    from pool3.commands.output import counted, note, progress
    from pool3.errors import EvaluationError
    from pool3.runtime import start_tensorflow
    from pool3.sources import open_source

    images = open_source([query])
    start_tensorflow()
    from pool3.repeating import embed_like

    with tempfile.TemporaryDirectory(prefix="pool3-query-") as folder:
        made = Path(folder) / "query.h5"
        with progress("fetching weights", "bytes") as fetching, progress("embedding") as report:
            result = embed_like(
                features,
                images,
                made,
                weights=weights,
                devices=devices,
                fetching=fetching,
                progress=lambda done, total, failures: report(
                    done, total, f"{failures:,} failed" if failures else ""
                ),
            )
        if not result.rows:
            raise EvaluationError(f"no image of {query} could be read: {result.failures:,} failed")
        if result.failures:
            note(f"{counted(result.failures, 'image')} of the query could not be read and were left out")
        yield made


def _show_neighbours(result: Neighbours) -> None:
    from pool3.commands.output import note, printable

    for i, query in enumerate(result.query_ids[:_SHOWN]):
        print(printable(query))
        for found in result.found(i):
            print(f"  {found['distance']:<10.6g}  {printable(found['id'])}")
    if len(result.query_ids) > _SHOWN:
        note(f"and {len(result.query_ids) - _SHOWN:,} more queries; all: -o FILE, or --json")


def dedup(
    features: Annotated[
        Path, typer.Argument(metavar="FEATURES.h5", help="Feature file.", show_default=False)
    ],
    threshold: Annotated[float, typer.Option(help="Least cosine of a pair.")] = 0.95,
    backend: Annotated[str, typer.Option(help="exact, or faiss (its flat index) where installed.")] = "exact",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write all pairs as .csv or .json.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing FILE.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """List pairs of rows whose features have a cosine above a threshold, and the groups that they make."""
    from pool3.commands.output import note, print_json, progress
    from pool3.search import duplicates, writing

    if output is not None:
        writing.check(output, features, overwrite=overwrite)
    result = duplicates(features, threshold, backend=backend, watch=progress)
    if output is not None:
        writing.write(result, output)
        note(f"written to {output}")
    if json:
        print_json(result.to_dict())
    elif output is None:
        _show_duplicates(result)


def _show_duplicates(result: Duplicates) -> None:
    from pool3.commands.output import counted, note, printable

    exact = {
        (a, b) for (a, b), same in zip(result.pairs.tolist(), result.same_bytes.tolist(), strict=True) if same
    }
    for number, group in enumerate(result.groups[:_SHOWN], 1):
        rows = group.tolist()
        print(f"group {number}: {len(rows):,} rows")
        for row in rows:
            same = "  = the first, byte for byte" if (rows[0], row) in exact else ""
            print(f"  {row:<8} {printable(result.ids[row])}{same}")
    if len(result.groups) > _SHOWN:
        note(f"and {len(result.groups) - _SHOWN:,} more groups; all: -o FILE, or --json")
    print(
        f"{counted(len(result.pairs), 'pair')} of a cosine of at least {result.threshold:g} "
        f"({result.same_bytes.sum():,} of them the same bytes) in {counted(len(result.groups), 'group')}; "
        f"{result.surplus:,} of {len(result.ids):,} rows would go if one of each group stayed"
    )
