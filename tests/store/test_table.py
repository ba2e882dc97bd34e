"""Selections against NumPy, DataFrames and datasets against the file."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pool3.errors import MissingLibraryError, SpecError, StoreError
from pool3.store import open_features
from tests.store.examples import INPUTS, NAMES, begin, id_of, make_rows, write
from tests.store.test_reader import COUNT, KEYS, WIDE, flip

EXPECTED = make_rows(0, COUNT, width=WIDE)
SHUFFLED = np.random.default_rng(0).integers(0, COUNT, COUNT)


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """400 rows in chunks of 87, more than a dataset reads at a time."""
    return write(tmp_path_factory.mktemp("wide") / "wide.h5", inputs=COUNT, width=WIDE, step=150)


@pytest.fixture
def file(wide):
    with open_features(wide) as opened:
        yield opened


@pytest.fixture
def small(tmp_path):
    with open_features(write(tmp_path / "small.h5", failed=[2, 9])) as opened:
        yield opened


@pytest.fixture
def damaged(wide, tmp_path):
    """The same as `file`, with a broken chunk: rows 348 to 400."""
    path = tmp_path / "bad.h5"
    path.write_bytes(wide.read_bytes())
    flip(path, make_rows(390, 391, width=WIDE).features.tobytes())
    with open_features(path) as opened:
        yield opened


def write_float16(path: Path) -> Path:
    """A file whose features are stored in half precision."""
    with begin(path, storage="float16") as writer:
        for start, stop in writer.pending():
            rows = make_rows(start, stop)
            writer.commit(replace(rows, features=rows.features.astype(np.float16)))
        return writer.seal()


def write_unlabelled(path: Path) -> Path:
    """A file of a source without labels."""
    with begin(path, label_names=()) as writer:
        for start, stop in writer.pending():
            writer.commit(make_rows(start, stop, classes=0))
        return writer.seal()


def check_rows(selection, rows) -> None:
    """A selection of `file` holds these of its rows, in this order."""
    assert len(selection) == len(rows)
    assert selection.features.shape == (len(rows), WIDE)
    np.testing.assert_array_equal(selection.features[:], EXPECTED.features[rows])
    np.testing.assert_array_equal(selection.labels, EXPECTED.labels[rows])
    np.testing.assert_array_equal(selection.source_index, EXPECTED.source_index[rows])
    np.testing.assert_array_equal(selection.content_sha256, EXPECTED.content_sha256[rows])
    assert selection.ids == [EXPECTED.ids[row] for row in rows]
    assert selection.label_names == NAMES


@pytest.mark.parametrize(
    "rows",
    [
        slice(None),
        slice(80, 100),
        slice(390, 3, -71),
        slice(5, 5),
        [],
        [399, 0, 88, 88, -1],
        SHUFFLED,
        np.arange(COUNT) % 100 == 7,
        pd.Series(np.arange(COUNT) > 390),
        range(3, 200, 50),
    ],
    ids=lambda rows: repr(rows)[:30],
)
def test_rows_are_selected_as_numpy_would(file, rows) -> None:
    check_rows(file.select(rows=rows), np.arange(COUNT)[rows])


def test_a_single_row_is_a_selection_of_one(file) -> None:
    check_rows(file.select(rows=-3), [COUNT - 3])


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_features_of_a_selection_are_indexed_as_numpys(file, key) -> None:
    array = EXPECTED.features[SHUFFLED]
    found = file.select(rows=SHUFFLED).features[key]
    assert found.shape == array[key].shape
    np.testing.assert_array_equal(found, array[key])


def test_features_of_a_selection_look_like_an_array(file) -> None:
    features = file.select(rows=SHUFFLED[:9]).features
    np.testing.assert_array_equal(np.asarray(features), EXPECTED.features[SHUFFLED[:9]])
    assert [row[0] for row in features] == EXPECTED.features[SHUFFLED[:9], 0].tolist()
    assert "9 × 3000" in repr(features)
    assert "9 × 3000" in repr(file.select(rows=slice(9)))
    with pytest.raises(IndexError):
        features[9]


@pytest.mark.parametrize("rows", [COUNT, [COUNT], [0.5], np.zeros(3, bool), np.array([[0, 1], [2, 3]]), True])
def test_what_is_no_index_of_rows_is_an_index_error(file, rows) -> None:
    with pytest.raises(IndexError):
        file.select(rows=rows)


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [
        ("cat", [0]),
        ("[bold]", [2]),
        (1, [1]),
        (np.int64(1), [1]),
        (-1, [-1]),
        (["cat", "dög"], [0, 1]),
        (["dög", "cat", "dög"], [0, 1]),
        ({"cat", -1}, [0, -1]),
        (np.array([2, -1]), [2, -1]),
        ([], []),
    ],
    ids=repr,
)
def test_labels_select_their_rows_in_the_order_of_the_file(file, labels, numbers) -> None:
    check_rows(file.select(labels), np.flatnonzero(np.isin(EXPECTED.labels, numbers)))


UNKNOWN = ["dog", ["cat", "dog"], 3, -2, [0, 7], True, [False, True], np.array([True])]


@pytest.mark.parametrize("labels", UNKNOWN, ids=repr)
def test_an_unknown_label_is_refused_with_the_known_ones(file, labels) -> None:
    with pytest.raises(SpecError, match=r"wide\.h5 has no label .*: cat, dög, \[bold\]$"):
        file.select(labels)


def test_labels_of_a_file_without_any(tmp_path) -> None:
    with open_features(write_unlabelled(tmp_path / "x.h5")) as opened:
        assert len(opened.select(-1)) == INPUTS
        with pytest.raises(SpecError, match="no label 'cat'; its labels: none at all"):
            opened.select("cat")


def test_many_labels_are_not_all_named(tmp_path) -> None:
    path = write(tmp_path / "x.h5", label_names=[f"n{i}" for i in range(1000)])
    with open_features(path) as opened, pytest.raises(SpecError, match=r"n0, n1, .*, n19 and 980 more$"):
        opened.select("cat")


def test_ids(file) -> None:
    check_rows(file.select(ids=[id_of(300), id_of(4), id_of(5)]), [4, 5, 300])
    check_rows(file.select(ids=id_of(2)), [2])
    with pytest.raises(SpecError, match=r"no row with the id 'nowhere\.jpg'"):
        file.select(ids=[id_of(4), "nowhere.jpg"])


def test_a_failure_is_no_row(small) -> None:
    with pytest.raises(SpecError, match=r"a/0009\.jpg"):
        small.select(ids=id_of(9))


def test_labels_and_ids_narrow_the_rows_that_are_given(file) -> None:
    rows = SHUFFLED[EXPECTED.labels[SHUFFLED] == 2]
    check_rows(file.select("[bold]", rows=SHUFFLED), rows)
    some = set(rows[::3].tolist())
    wanted = [id_of(row) for row in some]
    check_rows(file.select("[bold]", wanted, SHUFFLED), [row for row in rows if row in some])


def test_a_selection_of_a_selection(file) -> None:
    first = file.select(["cat", "dög"])
    rows = np.flatnonzero(np.isin(EXPECTED.labels, [0, 1]))
    check_rows(first.select(rows=slice(None, None, -3)), rows[::-3])
    check_rows(first.select("cat").select(rows=[5, 2]), np.flatnonzero(EXPECTED.labels == 0)[[5, 2]])
    with pytest.raises(SpecError, match="no row with the id"):
        first.select(ids=id_of(3))


def test_a_selection_reads_only_when_indexed(damaged) -> None:
    cats = damaged.select("cat")
    assert cats.features[:10].shape == (10, WIDE)
    with pytest.raises(StoreError, match=r"bad\.h5 is damaged in rows 348 to 400 of /features"):
        cats.features[-1]


def test_a_selection_of_a_closed_file_says_so(wide) -> None:
    with open_features(wide) as opened:
        selection = opened.select(rows=[3, 1])
        assert len(selection.labels) == 2
    assert selection.features.shape == (2, WIDE)
    for read in (
        lambda: selection.features[0],
        lambda: selection.ids,
        selection.to_pandas,
        selection.as_dataset,
    ):
        with pytest.raises(StoreError, match="closed"):
            read()


def test_to_pandas_is_the_file(small) -> None:
    frame = small.to_pandas()
    assert frame.index.name == "id"
    assert frame.index.tolist() == small.ids
    assert frame.columns.tolist() == ["label", "source_index", "content_sha256", "f0", "f1", "f2", "f3", "f4"]
    assert frame["label"].cat.categories.tolist() == list(NAMES)
    assert frame["label"].cat.codes.tolist() == small.labels.tolist()
    assert frame["label"].isna().tolist() == (small.labels == -1).tolist()
    assert frame["source_index"].dtype == np.int64
    assert frame["source_index"].tolist() == small.source_index.tolist()
    assert [bytes.fromhex(text) for text in frame["content_sha256"]] == [
        row.tobytes() for row in small.content_sha256
    ]
    features = frame.loc[:, "f0":"f4"]
    assert set(features.dtypes) == {np.dtype(np.float32)}
    np.testing.assert_array_equal(features.to_numpy(), small.features[:])


def test_to_pandas_keeps_the_features_in_one_block(small) -> None:
    """The columns are strided views of the rows as they were read, not an array each."""
    frame = small.to_pandas()
    assert {frame[f"f{i}"].to_numpy().strides for i in range(5)} == {(5 * 4,)}


def test_to_pandas_without_features_does_not_read_them(damaged) -> None:
    frame = damaged.to_pandas(features=False)
    assert frame.columns.tolist() == ["label", "source_index", "content_sha256"]
    assert len(frame) == COUNT
    with pytest.raises(StoreError, match="damaged in rows 348 to 400"):
        damaged.to_pandas()


def test_to_pandas_of_a_selection(small) -> None:
    frame = small.select("cat").to_pandas()
    assert set(frame["label"]) == {"cat"}
    assert frame["label"].cat.categories.tolist() == list(NAMES)
    pd.testing.assert_frame_equal(frame, small.to_pandas().query("label == 'cat'"))


def test_to_pandas_without_labels_or_rows(tmp_path, small) -> None:
    with open_features(write_unlabelled(tmp_path / "x.h5")) as opened:
        assert opened.to_pandas()["label"].isna().all()
    with open_features(write(tmp_path / "empty.h5", inputs=3, failed=[0, 1, 2])) as opened:
        frame = opened.to_pandas()
    pd.testing.assert_frame_equal(frame, small.to_pandas().iloc[:0])


def test_float16_stays_float16(tmp_path) -> None:
    import tensorflow as tf

    path = write_float16(tmp_path / "half.h5")
    expected = make_rows(0, INPUTS).features.astype(np.float16)
    with open_features(path) as opened:
        selection = opened.select(rows=[4, 2])
        assert selection.features.dtype == np.float16
        np.testing.assert_array_equal(selection.features[:], expected[[4, 2]])
        frame = opened.to_pandas()
        assert frame["f3"].dtype == np.float16
        np.testing.assert_array_equal(frame["f3"], expected[:, 3])
        dataset = opened.as_dataset(7)
        assert dataset.element_spec[0] == tf.TensorSpec((None, 5), tf.float16)
        np.testing.assert_array_equal(np.concatenate([x for x, _ in dataset.as_numpy_iterator()]), expected)


def test_without_pandas_the_extra_is_named(small, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'pool3\[tables\]'"):
        small.to_pandas()
    with pytest.raises(ImportError):
        small.to_pandas()


def test_rows_of_a_dataset(small) -> None:
    import tensorflow as tf

    dataset = small.as_dataset()
    assert dataset.element_spec == (tf.TensorSpec((5,), tf.float32), tf.TensorSpec((), tf.int32))
    assert dataset.cardinality().numpy() == len(small)
    for _ in range(2):
        rows = list(dataset.as_numpy_iterator())
        np.testing.assert_array_equal([x for x, _ in rows], small.features[:])
        assert [int(y) for _, y in rows] == small.labels.tolist()


@pytest.mark.parametrize("batch_size", [1, 5, 20, 21, 1000])
def test_batches_of_a_dataset(small, batch_size) -> None:
    import tensorflow as tf

    dataset = small.as_dataset(batch_size)
    assert dataset.element_spec == (tf.TensorSpec((None, 5), tf.float32), tf.TensorSpec((None,), tf.int32))
    batches = list(dataset.as_numpy_iterator())
    assert len(batches) == dataset.cardinality().numpy()
    assert {len(x) for x, _ in batches[:-1]} <= {batch_size}
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), small.features[:])
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), small.labels)


def test_batches_cross_what_is_read_at_a_time(file) -> None:
    batches = [x for x, _ in file.select(rows=slice(None, None, -1)).as_dataset(64).as_numpy_iterator()]
    assert [len(x) for x in batches] == [64] * 6 + [16]
    np.testing.assert_array_equal(np.concatenate(batches), EXPECTED.features[::-1])


def test_a_dataset_without_rows(small) -> None:
    nothing = small.select(rows=[])
    assert list(nothing.as_dataset()) == list(nothing.as_dataset(3)) == []
    assert nothing.as_dataset(3).cardinality().numpy() == 0


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_has_at_least_one_row(small, batch_size) -> None:
    with pytest.raises(SpecError, match="batch_size must be at least 1"):
        small.as_dataset(batch_size)


def test_a_dataset_streams_and_passes_damage_on(damaged, monkeypatch) -> None:
    """The first rows come before the last ones are read."""
    import tensorflow as tf

    monkeypatch.setattr("pool3.tfdata._READ_BYTES", 100 * WIDE * 4)
    dataset = damaged.as_dataset(50)
    assert sum(len(x) for x, _ in dataset.take(6)) == 300
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"StoreError: .*damaged in rows 348 to 400"):
        list(dataset)


def test_only_a_dataset_loads_tensorflow(wide) -> None:
    code = (
        "import sys, pool3\n"
        f"with pool3.open_features({str(wide)!r}) as file: file.select('cat').to_pandas()\n"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
