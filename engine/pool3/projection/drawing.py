"""A map as a PNG: dots coloured by class, or the images themselves."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.errors import MissingLibraryError
from pool3.pages import Images
from pool3.pages.colours import MARKERS, colour, shape
from pool3.pages.scatter import NO_CLASS
from pool3.projection.page import caption
from pool3.projection.result import ProjectResult
from pool3.store.disk import written_aside
from pool3.store.outputs import writing
from pool3.store.table import Table
from pool3.watching import Watch

WIDTH, HEIGHT, DPI = 10.0, 7.5, 160
"""Inches and dots of the picture: 1600 × 1200 pixels."""

_CANVAS = (2000, 1500)
"""Pixels that images are laid on."""

_LARGEST, _SMALLEST = 64, 14
_LEGEND = 40
"""Classes that a legend names."""


def check_library() -> None:
    """Raise `MissingLibraryError` unless matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401 - found or not
    except ImportError as error:
        raise MissingLibraryError(
            f"a PNG needs matplotlib, which cannot be imported ({error}); install it by "
            "pip install 'pool3[report]', or name an output that ends in .html"
        ) from error


def write(
    output: Path, result: ProjectResult, table: Table, images: Images | None, watch: Watch | None
) -> None:
    """Draw and write; whole or not at all.

    Args:
        output: the file.
        result: the map.
        table: the n rows that were placed.
        images: draw these at their places; None: dots.
        watch: told of the images that are read.

    Raises:
        StoreError: it cannot be written.
    """
    from matplotlib.figure import Figure  # without pyplot: no window system, no state

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    if images is None:
        _dots(axes, result.places, table)
    else:
        axes.imshow(_laid_out(result, table, images, watch), interpolation="lanczos")
    axes.set(xticks=[], yticks=[])
    axes.set_title(_plain(caption(result, table)), fontsize=9)
    axes.set_xlabel(
        f"trustworthiness {result.quality.trustworthiness:.3f}, kNN preservation "
        f"{result.quality.knn_preservation:.3f} (k = {result.quality.k})",
        fontsize=8,
    )
    _add_legend(axes, table)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": "pool3"})
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(output) as out:
            out.write(file.getvalue())


def _dots(axes: Any, places: NDArray[np.float64], table: Table) -> None:
    axes.set_aspect("equal", adjustable="datalim")
    size = float(np.clip(60_000 / len(places), 3, 36))
    labels = table.labels
    # In turns, so that the last class does not lie on all others: each part holds some of every class.
    parts = np.array_split(np.random.default_rng(0).permutation(len(places)), min(20, len(places)))
    for part in parts:
        for number in np.unique(labels[part]).tolist():
            rows = part[labels[part] == number]
            axes.scatter(
                *places[rows].T,
                s=size,
                c=colour(number),
                marker=MARKERS[shape(number)],
                linewidths=0.2,
                edgecolors=(0, 0, 0, 0.35),
            )


def _laid_out(result: ProjectResult, table: Table, images: Images, watch: Watch | None) -> NDArray[np.uint8]:
    """Lay each image at its place, framed in its class's colour, so that together they cover the canvas about once."""
    width, height = _CANVAS
    side = int(np.clip(math.sqrt(width * height / len(result.rows)), _SMALLEST, _LARGEST))
    canvas = np.full((height, width, 3), 255, np.uint8)
    low, high = result.places.min(axis=0), result.places.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    scale = ((np.array(_CANVAS) - side) / span).min()
    margin = (np.array(_CANVAS) - side - (high - low) * scale) / 2
    corners = np.rint((result.places - low) * scale + margin).astype(int)
    corners[:, 1] = height - side - corners[:, 1]
    point = {row: i for i, row in enumerate(result.rows.tolist())}
    labels = table.labels
    for row, pixels in images.thumbnails(result.rows, side - 2, watch):
        i = point[row]
        factor = max(1, (side - 2) // max(pixels.shape[:2]))  # small images grow, pixel by pixel
        pixels = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
        framed = np.empty((pixels.shape[0] + 2, pixels.shape[1] + 2, 3), np.uint8)
        framed[:] = np.frombuffer(bytes.fromhex(colour(int(labels[i]))[1:]), np.uint8)
        framed[1:-1, 1:-1] = pixels
        left, top = corners[i]
        canvas[top : top + framed.shape[0], left : left + framed.shape[1]] = framed
    return canvas


def _add_legend(axes: Any, table: Table) -> None:
    from matplotlib.lines import Line2D

    present, counts = np.unique(table.labels, return_counts=True)
    if present.tolist() == [-1]:
        return
    entries = [*zip(present.tolist(), counts.tolist(), strict=True)]
    shown = sorted(entries, key=lambda entry: (entry[0] < 0, entry[0]))[:_LEGEND]
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=MARKERS[shape(number)],
            color=colour(number),
            label=_plain(f"{table.label_names[number] if number >= 0 else NO_CLASS} ({count:,})"),
        )
        for number, count in shown
    ]
    more = len(entries) - len(shown)
    axes.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        fontsize=8,
        frameon=False,
        ncols=1 + (len(shown) - 1) // 25,
        title=f"and {more:,} more classes" if more else None,
    )


def _plain(text: str, most: int = 120) -> str:
    """Text that matplotlib draws as it is: a dollar would begin a formula, a leading underscore hide it."""
    short = text if len(text) <= most else f"{text[: most - 1]}…"
    return "".join(letter if letter.isprintable() else "�" for letter in short).replace("$", r"\$")
