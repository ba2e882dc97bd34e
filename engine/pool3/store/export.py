"""Sealed features as other programs want them: ``.npy``, ``.npz``, Parquet or CSV, written in blocks of rows.

Features are never held as a whole, only their block; ids, labels and the other narrow columns are.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO
from zipfile import ZipFile, ZipInfo

import numpy as np

from pool3.errors import SpecError
from pool3.store.disk import written_aside
from pool3.store.outputs import check_output, writing
from pool3.store.reader import open_features
from pool3.store.table import Table, optional

_BLOCK_BYTES = 16 << 20
"""Bytes of features that are held at a time; also about the size of a row group of Parquet."""

Step = Callable[[int], None]
"""Told, after each block, how many rows are written."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What an export wrote.

    Attributes:
        output: the file.
        format: one of `FORMATS`.
        rows: count of rows M.
        width: numbers a row, D.
        dtype: of the features.
        bytes: size of the file.
    """

    output: Path
    format: str
    rows: int
    width: int
    dtype: str
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name, JSON-able."""
        return {name: getattr(self, name) for name in self.__slots__} | {"output": str(self.output)}


def export_features(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - what everyone calls it
    labels: str | int | Iterable[str | int] | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ExportResult:
    """Write a feature file's rows, or those of some labels, into a file of another format.

    - ``npy``: the features, (M, D).
    - ``npz``: ``features``, ``ids``, ``labels``, ``label_names``, ``source_index`` and ``content_sha256``, as a
      `FeatureFile` has them; no pickles.
    - ``parquet``: columns ``id``, ``label`` (dictionary, null: none), ``source_index``, ``content_sha256`` (32 bytes),
      ``features`` (list of fixed size D); the provenance is JSON under ``pool3`` in the schema's metadata.
    - ``csv``: columns ``id``, ``label`` (empty: none), ``source_index``, ``f0`` to ``f{D-1}`` in the shortest decimals
      that give the same numbers again; UTF-8, quoted as in RFC 4180.

    Args:
        path: the feature file.
        output: the file to write, whole or not at all; folders above it are made.
        format: one of `FORMATS`; None: what the suffix of `output` says.
        labels: as in `Table.select`; None: all rows.
        overwrite: replace an existing output.
        progress: called with the rows written and their total.

    Raises:
        SpecError: the format is unknown, or there is no such label.
        MissingLibraryError: pyarrow is needed and not installed.
        OutputExistsError: the output exists, or is the feature file itself.
        StoreError: the feature file is damaged, or the output cannot be written.
    """
    path, output = Path(path), Path(output)
    chosen = _chosen(output, format)
    with open_features(path) as file, writing(output):
        table = file if labels is None else file.select(labels)
        check_output(output, path, overwrite=overwrite)

        def step(done: int) -> None:
            if progress is not None:
                progress(done, len(table))

        output.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(output) as target:
            _WRITERS[chosen](table, target, step)
        rows, width = table.features.shape
        return ExportResult(output, chosen, rows, width, str(table.features.dtype), output.stat().st_size)


def _npy(table: Table, file: IO[bytes], step: Step) -> None:
    _write_header(file, table.features.dtype, table.features.shape)
    for span in table.spans(_BLOCK_BYTES):
        file.write(table.features[span].data)
        step(span.stop)


def _npz(table: Table, file: BinaryIO, step: Step) -> None:
    with ZipFile(file, "w") as archive:

        def member(name: str) -> IO[bytes]:
            return archive.open(ZipInfo(f"{name}.npy"), "w", force_zip64=True)

        with member("features") as target:
            _npy(table, target, step)
        for name, texts in (("ids", table.ids), ("label_names", table.label_names)):
            with member(name) as target:
                _write_texts(target, texts)
        for name, array in (
            ("labels", table.labels),
            ("source_index", table.source_index),
            ("content_sha256", table.content_sha256),
        ):
            with member(name) as target:
                np.lib.format.write_array(target, array, allow_pickle=False)


def _write_header(file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _write_texts(file: IO[bytes], texts: Sequence[str]) -> None:
    """Write an array of the longest text's width, in blocks: a single long one makes it many times the texts."""
    dtype = np.dtype(f"<U{max([1, *map(len, texts)])}")
    _write_header(file, dtype, (len(texts),))
    step = max(1, _BLOCK_BYTES // dtype.itemsize)
    for start in range(0, len(texts), step):
        file.write(np.array(texts[start : start + step], dtype).tobytes())


def _parquet(table: Table, file: BinaryIO, step: Step) -> None:
    pa, parquet = optional("pyarrow"), optional("pyarrow.parquet")
    number = pa.field("element", pa.from_numpy_dtype(table.features.dtype), nullable=False)
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("label", pa.dictionary(pa.int32(), pa.string())),
            pa.field("source_index", pa.int64(), nullable=False),
            pa.field("content_sha256", pa.binary(32), nullable=False),
            pa.field("features", pa.list_(number, table.features.shape[1]), nullable=False),
        ],
        metadata={"pool3": json.dumps(table.provenance.to_mapping(), ensure_ascii=False)},
    )
    names = pa.array(table.label_names, pa.string())
    # Dictionaries of numbers that hardly ever repeat would only cost time.
    with parquet.ParquetWriter(file, schema, use_dictionary=["label"]) as writer:
        for span in table.spans(_BLOCK_BYTES):
            labels, digests = table.labels[span], table.content_sha256[span]
            columns = [
                pa.array(table.ids[span], pa.string()),
                pa.DictionaryArray.from_arrays(pa.array(labels, mask=labels < 0), names),
                pa.array(table.source_index[span]),
                pa.FixedSizeBinaryArray.from_buffers(
                    pa.binary(32), len(digests), [None, pa.py_buffer(digests)]
                ),
                pa.FixedSizeListArray.from_arrays(
                    pa.array(table.features[span].reshape(-1)), type=schema.field("features").type
                ),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            step(span.stop)


def _csv(table: Table, file: BinaryIO, step: Step) -> None:
    # A codec's writer, since a text file would close what it writes to.
    writer = csv.writer(codecs.getwriter("utf-8")(file))
    writer.writerow(["id", "label", "source_index", *(f"f{i}" for i in range(table.features.shape[1]))])
    names = (*table.label_names, "")  # the label -1 takes the last
    for span in table.spans(_BLOCK_BYTES):
        # NumPy's numbers, not Python's: their text is the shortest for their own precision.
        writer.writerows(
            [id_, names[label], index, *row]
            for id_, label, index, row in zip(
                table.ids[span],
                table.labels[span],
                table.source_index[span],
                table.features[span],
                strict=True,
            )
        )
        step(span.stop)


_WRITERS: dict[str, Callable[[Table, BinaryIO, Step], None]] = {
    "npy": _npy,
    "npz": _npz,
    "parquet": _parquet,
    "csv": _csv,
}

FORMATS = tuple(_WRITERS)
"""Formats that `export_features` writes, by their suffixes."""


def _chosen(output: Path, format_: str | None) -> str:
    name = output.suffix.removeprefix(".").lower() if format_ is None else format_
    if name not in FORMATS:
        what = (
            f"{output} does not end like a format"
            if format_ is None
            else f"the format {format_!r} is not one"
        )
        raise SpecError(
            f"{what} that pool3 exports; choose {', '.join(FORMATS)} by the suffix or by --format"
        )
    return name
