"""Each format, read back by the programs it is for, equals the file bit for bit; errors leave nothing behind."""

import csv
import io
import json
import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pool3 import export_features
from pool3.errors import (
    MissingLibraryError,
    OutputExistsError,
    SpecError,
    StoreError,
    StoreNotFoundError,
)
from pool3.store import FeatureFile, open_features
from tests.peak import needs_linux
from tests.store.examples import INPUTS, NAMES, WIDTH, begin, make_rows, write
from tests.store.test_reader import flip
from tests.store.test_table import write_float16, write_unlabelled
from tests.test_cli import pool3

FORMATS = ("npy", "npz", "parquet", "csv")
STRANGE = [
    'a,"b"',
    "cr\rlf\nboth\r\n",
    " spaces ",
    "'=1+1",
    '"',
    ",",
    "NA",
    "\ufeffbom",
    "\x85\u2028",
    "\\x0a",
]
EDGES = [np.nan, np.inf, -np.inf, -0.0, 0.1, 1e-45, 3.4028235e38, 16777216, 1e16, 1 / 3]
BLOCK = 3 * WIDTH * 4
"""Few rows a block, so that every file here takes several."""


@pytest.fixture(autouse=True)
def blocks(monkeypatch) -> None:
    monkeypatch.setattr("pool3.store.export._BLOCK_BYTES", BLOCK)


def write_strange(path: Path) -> Path:
    """Ids and numbers that a text format may stumble over."""
    with begin(path, inputs=len(STRANGE), step=len(STRANGE)) as writer:
        rows = make_rows(0, len(STRANGE))
        rows.features[:, 2] = EDGES
        writer.commit(replace(rows, ids=STRANGE))
        return writer.seal()


FILES = {
    "ordinary": lambda path: write(path, failed=[2, 9]),
    "strange": write_strange,
    "float16": write_float16,
    "unlabelled": write_unlabelled,
    "empty": lambda path: write(path, failed=range(INPUTS)),
}


@pytest.fixture(scope="module", params=FILES)
def file(request, tmp_path_factory):
    path = FILES[request.param](tmp_path_factory.mktemp("files") / "x.h5")
    with open_features(path) as opened:
        yield opened


@pytest.fixture
def path(tmp_path) -> Path:
    return write(tmp_path / "x.h5", failed=[2, 9])


def same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


def label_texts(file: FeatureFile) -> list[str | None]:
    return [None if label < 0 else file.label_names[label] for label in file.labels]


def test_npy_is_what_numpy_saves(file, tmp_path) -> None:
    result = export_features(file.path, tmp_path / "x.npy")
    saved = io.BytesIO()
    np.save(saved, file.features[:])
    assert result.output.read_bytes() == saved.getvalue()


def test_npz_holds_every_column(file, tmp_path) -> None:
    export_features(file.path, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"features", "ids", "labels", "label_names", "source_index", "content_sha256"}
        for name in ("features", "labels", "source_index", "content_sha256"):
            same_bits(arrays[name], np.asarray(getattr(file, name)))
        for name in ("ids", "label_names"):
            assert arrays[name].dtype.kind == "U"
            assert arrays[name].tolist() == list(getattr(file, name))


def test_parquet_holds_every_column_and_the_provenance(file, tmp_path) -> None:
    export_features(file.path, tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    number = pa.from_numpy_dtype(file.features.dtype)
    assert [(field.name, field.type) for field in table.schema] == [
        ("id", pa.string()),
        ("label", pa.dictionary(pa.int32(), pa.string())),
        ("source_index", pa.int64()),
        ("content_sha256", pa.binary(32)),
        ("features", pa.list_(pa.field("element", number, nullable=False), WIDTH)),
    ]
    assert table["id"].to_pylist() == file.ids
    assert table["label"].to_pylist() == label_texts(file)
    assert table["source_index"].to_pylist() == file.source_index.tolist()
    assert table["content_sha256"].to_pylist() == [row.tobytes() for row in file.content_sha256]
    features = table["features"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    same_bits(features.reshape(-1, WIDTH), file.features[:])
    assert json.loads(table.schema.metadata[b"pool3"]) == file.provenance.to_mapping()


def test_row_groups_are_bounded(path, tmp_path) -> None:
    export_features(path, tmp_path / "x.parquet")
    groups = pq.ParquetFile(tmp_path / "x.parquet").metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [3] * 7


def test_pandas_reads_the_parquet(path, tmp_path) -> None:
    export_features(path, tmp_path / "x.parquet")
    frame = pd.read_parquet(tmp_path / "x.parquet").set_index("id")
    with open_features(path) as file:
        assert frame.index.tolist() == file.ids
        assert frame["label"].cat.categories.tolist() == list(NAMES)
        assert frame["label"].cat.codes.tolist() == file.labels.tolist()
        np.testing.assert_array_equal(np.stack(frame["features"]), file.features[:])


def test_csv_gives_the_same_numbers_again(file, tmp_path) -> None:
    export_features(file.path, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as text:
        header, *rows = csv.reader(text, strict=True)
    assert header == ["id", "label", "source_index", "f0", "f1", "f2", "f3", "f4"]
    assert [row[0] for row in rows] == file.ids
    assert [row[1] or None for row in rows] == label_texts(file)
    assert [int(row[2]) for row in rows] == file.source_index.tolist()
    features = np.array([row[3:] for row in rows], np.float64).astype(file.features.dtype)
    same_bits(features.reshape(-1, WIDTH), file.features[:])


def test_csv_takes_the_shortest_decimals(tmp_path) -> None:
    export_features(write_strange(tmp_path / "x.h5"), tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as text:
        shown = [row["f2"] for row in csv.DictReader(text)]
    assert shown[4:7] == ["0.1", "1e-45", "3.4028235e+38"]
    assert shown[-1] == "0.33333334"


def test_csv_is_rfc_4180(tmp_path) -> None:
    export_features(write_strange(tmp_path / "x.h5"), tmp_path / "x.csv")
    data = (tmp_path / "x.csv").read_bytes()
    assert data.startswith(b'id,label,source_index,f0,f1,f2,f3,f4\r\n"a,""b""",,0,')
    assert b'\r\n"cr\rlf\nboth\r\n",cat,1,' in data
    assert data.endswith(b"\r\n")


def test_pandas_reads_the_csv(tmp_path) -> None:
    path = write_strange(tmp_path / "x.h5")
    export_features(path, tmp_path / "x.csv")
    frame = pd.read_csv(
        tmp_path / "x.csv", index_col="id", keep_default_na=False,
        na_values={"label": "", "f2": "nan"}, dtype={f"f{i}": np.float32 for i in range(WIDTH)},
    )  # fmt: skip
    with open_features(path) as file:
        expected = file.to_pandas().drop(columns="content_sha256")
    assert frame.index.tolist() == expected.index.tolist()
    pd.testing.assert_frame_equal(frame, expected.astype({"label": frame["label"].dtype}))


@pytest.mark.parametrize("format_", FORMATS)
def test_labels_select_rows(path, tmp_path, format_) -> None:
    output = tmp_path / f"x.{format_}"
    result = export_features(path, output, labels=["[bold]", "cat"])
    with open_features(path) as file:
        selection = file.select(["cat", "[bold]"])
        assert (result.rows, result.width, result.dtype) == (len(selection), WIDTH, "float32")
        match format_:
            case "npy":
                found = np.load(output)
            case "npz":
                arrays = np.load(output)
                found = arrays["features"]
                assert arrays["ids"].tolist() == selection.ids
                assert arrays["label_names"].tolist() == list(NAMES)
            case "parquet":
                found = np.stack(pd.read_parquet(output)["features"])
            case "csv":
                found = pd.read_csv(output)[[f"f{i}" for i in range(WIDTH)]].to_numpy(np.float32)
        same_bits(found, selection.features[:])


@pytest.mark.parametrize("format_", FORMATS)
def test_the_result_and_the_progress_say_what_was_written(path, tmp_path, format_) -> None:
    seen = []
    # A suffix in capitals, a name that says another format, a folder that is not there yet.
    output = tmp_path / "new" / "folder" / f"x.{format_.upper()}"
    result = export_features(path, output, progress=lambda done, total: seen.append((done, total)))
    assert (result.output, result.format, result.rows, result.width) == (output, format_, 21, WIDTH)
    assert result.bytes == output.stat().st_size
    assert seen == [(done, 21) for done in range(3, 22, 3)]
    json.dumps(result.to_dict())
    other = export_features(path, tmp_path / "x.npy", format=format_)
    assert other.output.read_bytes() == output.read_bytes()


def test_an_existing_output_is_left_alone_unless_told(path, tmp_path) -> None:
    output = tmp_path / "x.npy"
    output.write_bytes(b"precious")
    with pytest.raises(OutputExistsError, match=r"x\.npy exists.*--overwrite"):
        export_features(path, output)
    assert output.read_bytes() == b"precious"
    export_features(path, output, overwrite=True)
    assert np.load(output).shape == (21, WIDTH)


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
@pytest.mark.parametrize("name", ["y.npy", "y.npy.pool3-tmp"])
def test_the_input_is_never_the_output(path, tmp_path, link, name) -> None:
    """By its own name or by a link to it, nor while the output is written aside."""
    place = tmp_path / name
    if link is None:
        path = path.rename(place)
    else:
        link(path, place)
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="is the feature file"):
        export_features(path, tmp_path / "y.npy", overwrite=True)
    assert path.read_bytes() == before
    assert place.exists()


def test_a_folder_is_no_output(path, tmp_path) -> None:
    (tmp_path / "x.npy").mkdir()
    with pytest.raises(StoreError, match="is a folder"):
        export_features(path, tmp_path / "x.npy", overwrite=True)


def test_where_nothing_can_be_written(path) -> None:
    with pytest.raises(StoreError, match=r"x\.npy cannot be written \(File exists: .*x\.h5\)"):
        export_features(path, path / "x.npy")


@pytest.mark.parametrize("name", ["x", "x.h5", "x.csv.gz", ".npy"])
def test_an_unknown_suffix_is_refused_with_the_formats(path, tmp_path, name) -> None:
    with pytest.raises(SpecError, match="npy, npz, parquet, csv"):
        export_features(path, tmp_path / "folder" / name)
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("format_", ["hdf5", "", "NPY"])
def test_an_unknown_format_is_refused(path, tmp_path, format_) -> None:
    with pytest.raises(SpecError, match=f"{format_!r} is not one.*npy, npz, parquet, csv"):
        export_features(path, tmp_path / "x.npy", format=format_)


def test_an_unknown_label_leaves_nothing(path, tmp_path) -> None:
    with pytest.raises(SpecError, match="'dog'"):
        export_features(path, tmp_path / "folder" / "x.npy", labels=["cat", "dog"])
    assert not (tmp_path / "folder").exists()


def test_no_input(tmp_path) -> None:
    with pytest.raises(StoreNotFoundError, match=r"nothing\.h5"):
        export_features(tmp_path / "nothing.h5", tmp_path / "x.npy")


@pytest.mark.parametrize("format_", FORMATS)
def test_damage_leaves_what_was_there(path, tmp_path, format_) -> None:
    flip(path, make_rows(20, 21).features.tobytes())
    output = tmp_path / f"x.{format_}"
    output.write_bytes(b"precious")
    with pytest.raises(StoreError, match=r"x\.h5 is damaged in rows 0 to 21 of /features"):
        export_features(path, output, overwrite=True)
    assert output.read_bytes() == b"precious"
    assert {p.name for p in tmp_path.iterdir()} == {"x.h5", output.name}


@contextmanager
def file_size_limit(size: int):
    """What a full disk does, from `size` bytes of any file on."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_full_disk_leaves_what_was_there(path, tmp_path, format_) -> None:
    output = tmp_path / f"x.{format_}"
    output.write_bytes(b"precious")
    with file_size_limit(300), pytest.raises(StoreError, match=r"cannot be written \(File too large\)"):
        export_features(path, output, overwrite=True)
    assert output.read_bytes() == b"precious"
    assert {p.name for p in tmp_path.iterdir()} == {"x.h5", output.name}


def test_without_pyarrow_the_extra_is_named(path, tmp_path, monkeypatch) -> None:
    for name in ("pyarrow", "pyarrow.parquet", "pandas"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        MissingLibraryError, match=r"pyarrow cannot be imported.*pip install 'pool3\[tables\]'"
    ):
        export_features(path, tmp_path / "x.parquet")
    for format_ in ("npy", "npz", "csv"):
        export_features(path, tmp_path / f"x.{format_}")
    assert {p.suffix for p in tmp_path.iterdir()} == {".h5", ".npy", ".npz", ".csv"}


MEMORY = r"""
import sys
import pyarrow, pyarrow.parquet
from pool3.store import export, export_features
from tests.peak import peak_bytes
export._BLOCK_BYTES = 1 << 20
small, large, folder = sys.argv[1:]

def peak(path):
    for format_ in ("npy", "npz", "parquet"):
        export_features(path, f"{folder}/x.{format_}", overwrite=True)
    return peak_bytes()

before = peak(small)
print(peak(large) - before)
"""


@needs_linux
def test_memory_does_not_grow_with_the_features(tmp_path) -> None:
    small = write(tmp_path / "small.h5", inputs=2_000, width=2048, step=1000)
    large = write(tmp_path / "large.h5", inputs=16_000, width=2048, step=4000)
    command = [sys.executable, "-c", MEMORY, str(small), str(large), str(tmp_path)]
    grown = int(
        subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
        ).stdout
    )
    assert grown < (large.stat().st_size - small.stat().st_size) / 4


def test_csv_is_written_row_by_row(tmp_path, monkeypatch) -> None:
    """A block of numbers as text would be many times its size."""
    import tracemalloc

    path = write(tmp_path / "x.h5", inputs=300, width=1000, step=300)
    monkeypatch.setattr("pool3.store.export._BLOCK_BYTES", 1 << 20)
    tracemalloc.start()
    export_features(path, tmp_path / "x.csv")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 << 20


def test_the_command_line(path, tmp_path) -> None:
    done = pool3("export", path, "-o", tmp_path / "x.csv", "--label", "cat", "--label", "dög")
    assert done.returncode == 0, done.stderr
    with open_features(path) as file:
        rows = len(file.select(["cat", "dög"]))
    assert done.stdout == f"{tmp_path / 'x.csv'}: {rows} rows of 5 float32 numbers, 0.0 MiB of csv\n"
    assert done.stderr == ""
    assert len(pd.read_csv(tmp_path / "x.csv")) == rows
    again = pool3("export", path, "--output", tmp_path / "x.csv", "--format", "npz", "--overwrite", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == {
        "output": str(tmp_path / "x.csv"),
        "format": "npz",
        "rows": 21,
        "width": 5,
        "dtype": "float32",
        "bytes": (tmp_path / "x.csv").stat().st_size,
    }
    assert np.load(tmp_path / "x.csv")["features"].shape == (21, 5)


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["x.h5", "-o", "x.xlsx"], 1, "npy, npz, parquet, csv"),
        (["x.h5", "-o", "x.npy", "--label", "dog"], 1, "its labels: cat, dög, [bold]"),
        (["x.h5", "-o", "x.h5", "--format", "npy", "--overwrite"], 1, "is the feature file"),
        (["nowhere.h5", "-o", "x.npy"], 1, "nowhere.h5"),
        (["x.h5"], 2, "--output"),
    ],
)
def test_the_command_line_explains_itself(path, tmp_path, arguments, code, named) -> None:
    before = path.read_bytes()
    done = pool3("export", *arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before
