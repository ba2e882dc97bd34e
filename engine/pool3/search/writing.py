"""What a search found, as a file: ``.csv`` or ``.json``."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pool3.errors import SpecError
from pool3.search.pairs import Duplicates
from pool3.search.query import Neighbours
from pool3.store.disk import written_aside
from pool3.store.outputs import check_output, writing

SUFFIXES = (".csv", ".json")
"""How a file's name may end."""


def check(output: Path, *inputs: Path, overwrite: bool) -> None:
    """Refuse, before the work begins, an output that could not be written after it.

    Raises:
        SpecError: its name ends otherwise than in `SUFFIXES`.
        OutputExistsError: it exists and is not to be replaced, or is an input.
        StoreError: it is a folder.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise SpecError(f"{output} does not end in {' or '.join(SUFFIXES)}, by which its format is chosen")
    check_output(output, *inputs, overwrite=overwrite)


def write(result: Neighbours | Duplicates, output: Path) -> None:
    """Write a result, whole or not at all; folders above it are made.

    CSV of neighbours: ``query``, ``rank`` from 1, ``row``, ``id``, ``distance``; of duplicates: ``row_a``, ``id_a``,
    ``row_b``, ``id_b``, ``similarity``, ``same_bytes`` (0 or 1), ``group`` from 1. JSON: what ``to_dict`` gives.

    Raises:
        StoreError: it cannot be written.
    """
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(output) as file:
            if output.suffix.lower() == ".json":
                file.write(json.dumps(result.to_dict(), ensure_ascii=False).encode())
                return
            names, rows = _neighbours(result) if isinstance(result, Neighbours) else _duplicates(result)
            table = csv.writer(codecs.getwriter("utf-8")(file))
            table.writerow(names)
            table.writerows(rows)


def _neighbours(result: Neighbours) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
    def rows() -> Iterator[Sequence[Any]]:
        for i, query in enumerate(result.query_ids):
            for rank, found in enumerate(result.found(i), 1):
                yield query, rank, found["row"], found["id"], found["distance"]

    return ("query", "rank", "row", "id", "distance"), rows()


def _duplicates(result: Duplicates) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
    group = {row: number for number, rows in enumerate(result.groups, 1) for row in rows.tolist()}

    def rows() -> Iterator[Sequence[Any]]:
        columns = (result.pairs.tolist(), result.similarities.tolist(), result.same_bytes.tolist())
        for (a, b), similarity, same in zip(*columns, strict=True):
            yield a, result.ids[a], b, result.ids[b], similarity, int(same), group[a]

    return ("row_a", "id_a", "row_b", "id_b", "similarity", "same_bytes", "group"), rows()
