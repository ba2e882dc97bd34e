"""One map: choose, read, reduce, place, judge, draw."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.errors import EvaluationError
from pool3.pages import Images, Sprites, find_images, make_sprites, write_page
from pool3.projection import coordinates as table_file
from pool3.projection import drawing, quality, reducing
from pool3.projection.backends import choose
from pool3.projection.embedding import embed
from pool3.projection.methods import fitted_to, settings
from pool3.projection.page import page
from pool3.projection.result import ProjectResult
from pool3.projection.sampling import stratified
from pool3.store import FeatureFile, open_features
from pool3.store.outputs import check_output
from pool3.store.table import Table
from pool3.watching import Watch, unwatched

LIMIT = 10_000
"""Rows that are placed unless told: what a page shows fluently, and t-SNE does in half a minute."""

MOST_PICTURES = 20_000
"""Points of a page that get pictures unless told; more would make it larger than browsers like."""

PAGES, PICTURES = (".html", ".htm"), (".png",)

_Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def project(
    features: str | os.PathLike[str],
    output: _Paths = (),
    *,
    method: str = "tsne",
    backend: str = "auto",
    pca: int = 50,
    perplexity: float | None = None,
    neighbours: int | None = None,
    min_dist: float | None = None,
    seed: int = 0,
    rows: NDArray[np.int64] | None = None,
    limit: int = LIMIT,
    k: int = 15,
    sample: int = quality.SAMPLE,
    images: bool | None = None,
    source: Any = None,
    coordinates: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> ProjectResult:
    """Place a feature file's rows in the plane, judge the map, and draw it.

    Args:
        features: a feature file; labels are used for colours alone.
        output: files to write: ``.html``, a self-contained page, and ``.png``; one, several or none.
        method: ``tsne``, ``umap`` or ``pca``.
        backend: ``auto``, ``cuml``, ``opentsne``, ``umap-learn`` or ``sklearn``.
        pca: components that the features are reduced to first; 0: none. Not for the method ``pca``.
        perplexity: of t-SNE, None: 30, or less where there are fewer than 91 rows.
        neighbours: of UMAP, None: 15.
        min_dist: of UMAP, None: 0.1.
        seed: of the sample, the reduction, the method and the judgement.
        rows: (n,) of the file, ascending, that may be placed; None: all.
        limit: rows to place at most, drawn within each class; 0: all.
        k: neighbours of trustworthiness and kNN preservation.
        sample: rows that are asked for them.
        images: whether to show the images; None: in pages up to `MOST_PICTURES` points, not in PNGs.
        source: where they are, as `pool3.sources.open_source` takes it; None: what the file records.
        coordinates: a CSV file to write: ``row,id,label,x,y``.
        overwrite: replace existing files.
        watch: told of each task, and how far it has come.

    Raises:
        EvaluationError: a setting does not fit, or a feature is not finite.
        MissingLibraryError: a library that is needed is not installed.
        StoreError: the file is damaged, or an output exists or cannot be written.
        SourceError: a source was given that cannot be read.
    """
    path, watch = Path(features), watch or unwatched
    wanted = settings(
        method, pca=pca, perplexity=perplexity, neighbours=neighbours, min_dist=min_dist, seed=seed
    )
    if limit < 0 or k < 1 or sample < 1:
        raise EvaluationError(
            f"rows to place are counted from 0, neighbours and rows to ask from 1; received {limit}, {k}, {sample}"
        )
    outputs = [Path(one) for one in ([output] if isinstance(output, str | os.PathLike) else output)]
    table_path = None if coordinates is None else Path(coordinates)
    _check_outputs(path, outputs, table_path, overwrite)
    choice = choose(backend, method)
    seconds: dict[str, float] = {}
    with open_features(path) as file:
        among = np.arange(len(file)) if rows is None else np.asarray(rows, np.int64)
        rows = among[stratified(file.labels[among], limit, seed)]
        table: Table = file if len(rows) == len(file) else file.select(rows=rows)
        wanted = fitted_to(wanted, len(rows), file.features.shape[1])
        # Before the work begins, since a mistyped source should not have to wait for it.
        shown = _images(file, outputs, images, source, len(rows))
        components = 2 if method == "pca" else wanted.pca
        with _timed(seconds, "read"):
            whole = reducing.read(table) if reducing.fits(table) or not components else None
        variance = None
        x: Any = whole
        if components:
            with _timed(seconds, "pca"), watch("reducing", "rows") as report:
                x, variance = reducing.reduce(table, whole, components, seed, report)
        if not np.ptp(x, axis=0).any():
            raise EvaluationError(
                f"all {len(rows):,} rows of {path} have the same features: there is no map of them"
            )
        places = x.astype(float)
        if method != "pca":
            with _timed(seconds, "embed"), watch("placing", "iterations") as report:
                places = embed(x, wanted, choice.backend, report)
            if not np.isfinite(places).all():
                raise EvaluationError(
                    f"{choice.backend} placed rows at no finite numbers; choose another backend or other settings"
                )
        with _timed(seconds, "quality"), watch("judging", "rows") as report:
            judged = quality.measure(table, places, k=k, sample=sample, seed=seed, report=report)
        result = ProjectResult(
            features=path,
            places=places,
            rows=rows,
            n_total=len(file),
            settings=wanted,
            pca_variance=variance,
            backend=choice.backend,
            backend_version=choice.version,
            backend_reason=choice.reason,
            quality=judged,
            seconds=seconds,
        )
        return _written(result, table, outputs, table_path, shown, images, watch)


def _check_outputs(features: Path, outputs: list[Path], table: Path | None, overwrite: bool) -> None:
    for one in outputs:
        if one.suffix.lower() not in PAGES + PICTURES:
            raise EvaluationError(f"{one} does not end in .html or .png, by which its format is chosen")
        if one.suffix.lower() in PICTURES:
            drawing.check_library()
    everything = outputs if table is None else [*outputs, table]
    if len({one.absolute() for one in everything}) < len(everything):
        raise EvaluationError("an output is named twice; give each a name of its own")
    for one in everything:
        check_output(one, features, overwrite=overwrite)


def _images(
    file: FeatureFile, outputs: list[Path], wanted: bool | None, source: Any, points: int
) -> Images | None:
    """The rows' images, where an output shows them."""
    pages = [one for one in outputs if one.suffix.lower() in PAGES]
    if wanted is False or not outputs or (wanted is None and not pages):
        if source is not None:
            raise EvaluationError("a source of images was given, but no output shows images; leave it out")
        return None
    if wanted is None and points > MOST_PICTURES:
        note = f"no images are shown of more than {MOST_PICTURES:,} points, unless asked for by --images"
        return Images(file, None, note)
    return find_images(file, source)


def _written(
    result: ProjectResult,
    table: Table,
    outputs: list[Path],
    table_path: Path | None,
    shown: Images | None,
    wanted: bool | None,
    watch: Watch,
) -> ProjectResult:
    """Draw, and write everything at the end."""
    pages = [one for one in outputs if one.suffix.lower() in PAGES]
    pictures = [one for one in outputs if one not in pages]
    sprites: Sprites | None = None
    if pages and shown is not None:
        with _timed(result.seconds, "images"):
            sprites = make_sprites(shown, result.rows, watch=watch) if shown.source is not None else None
        result = replace(result, images_shown=shown.shown, images_note=shown.note)
    with _timed(result.seconds, "write"):
        for one in pages:
            write_page(one, page(result, table, sprites))
        for one in pictures:
            drawn = Images(shown.file, shown.source, shown.problem) if shown is not None and wanted else None
            drawing.write(one, result, table, drawn, watch)
            if drawn is not None:
                result = replace(result, images_shown=drawn.shown, images_note=drawn.note)
        if table_path is not None:
            table_file.write(table_path, result, table)
    written = outputs if table_path is None else [*outputs, table_path]
    return replace(result, outputs=tuple(written))


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
