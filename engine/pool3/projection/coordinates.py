"""Places as a CSV file."""

from __future__ import annotations

import codecs
import csv
from pathlib import Path

from pool3.classify.tables import harmless
from pool3.projection.result import ProjectResult
from pool3.store.disk import written_aside
from pool3.store.outputs import writing
from pool3.store.table import Table

COLUMNS = ("row", "id", "label", "x", "y")
"""Of the file; ``label`` is empty where a row has none."""


def write(output: Path, result: ProjectResult, table: Table) -> None:
    """Write one line a row, with the shortest decimals that give the same numbers again; whole or not at all.

    Args:
        output: the file.
        result: the places.
        table: the n rows that were placed.

    Raises:
        StoreError: it cannot be written.
    """
    names = [*table.label_names, ""]  # the last one answers for -1
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(output) as file:
            lines = csv.writer(codecs.getwriter("utf-8")(file))
            lines.writerow(COLUMNS)
            for row, id_, label, (x, y) in zip(
                result.rows.tolist(), table.ids, table.labels.tolist(), result.places.tolist(), strict=True
            ):
                lines.writerow([row, harmless(id_), harmless(names[label]), repr(x), repr(y)])
