import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from pool3.errors import StoreError, StoreNotFoundError
from pool3.store import IDENTITY, differences, existing, info, open_features
from tests.store.examples import INPUTS, PROVENANCE, begin, make_rows, write

WIDE = 3000
COUNT = 400


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """400 rows in chunks of 87."""
    return write(tmp_path_factory.mktemp("wide") / "wide.h5", inputs=COUNT, width=WIDE, step=150)


KEYS = [
    0,
    -1,
    np.int64(399),
    slice(None),
    slice(85, 90),
    slice(-5, None),
    slice(None, None, -1),
    slice(390, 3, -71),
    slice(3, 390, 88),
    slice(10, 5),
    slice(10, 5, -1),
    [],
    [3],
    [399, 0, 88, 88, -1],
    np.array([300, 5]),
    np.arange(COUNT) % 100 == 7,
    [True] + [False] * (COUNT - 1),
    np.zeros(COUNT, bool),
    (5, 7),
    (slice(80, 100), slice(1, 2990, 1000)),
    (slice(100, 80, -7), [4, 2]),
    ([1, 200, 1], [4, 2, 0]),
    ([1, 200, 1], slice(2)),
    (slice(None), 0),
    (np.arange(COUNT) > 395, -1),
    (0, ...),
    ...,
    (..., 1),
    (),
    None,
    np.array([[0, 1], [2, 399]]),
]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_indexing_is_numpys(wide, key) -> None:
    array = make_rows(0, COUNT, width=WIDE).features
    with open_features(wide) as file:
        found = file.features[key]
    assert found.shape == array[key].shape
    np.testing.assert_array_equal(found, array[key])


@pytest.mark.parametrize(
    "key", [COUNT, -COUNT - 1, [COUNT], (0, WIDE), np.zeros(3, bool), 1.5, (0, 0, 0)], ids=repr
)
def test_a_bad_index_is_an_index_error(wide, key) -> None:
    with open_features(wide) as file, pytest.raises(IndexError):
        file.features[key]


def test_features_look_like_an_array(wide) -> None:
    array = make_rows(0, COUNT, width=WIDE).features
    with open_features(wide) as file:
        assert len(file.features) == COUNT
        assert (file.features.shape, file.features.ndim, file.features.dtype) == (
            (COUNT, WIDE),
            2,
            np.float32,
        )
        np.testing.assert_array_equal(np.asarray(file.features), array)
        assert np.asarray(file.features, dtype=np.float64).dtype == np.float64
        assert [row[0] for row in file.features] == array[:, 0].tolist()
        assert "400 × 3000" in repr(file)
        assert "400 × 3000" in repr(file.features)


def test_a_closed_file_says_so(wide) -> None:
    with open_features(wide) as file:
        ids = file.ids
    assert file.ids is ids
    for read in (lambda: file.features[0], lambda: file.labels):
        with pytest.raises(StoreError, match="closed"):
            read()


def flip(path: Path, needle: bytes) -> None:
    data = bytearray(path.read_bytes())
    at = data.find(needle)
    assert at > 0
    assert data.find(needle, at + 1) < 0
    data[at] ^= 1
    path.write_bytes(data)


def test_a_flipped_byte_in_features_names_the_rows(wide, tmp_path) -> None:
    path = tmp_path / "bad.h5"
    path.write_bytes(wide.read_bytes())
    flip(path, make_rows(200, 201, width=WIDE).features.tobytes())
    with open_features(path) as file:
        for key in (slice(None), 200, [1, 180], slice(170, 300)):
            with pytest.raises(StoreError, match=r"bad\.h5 is damaged in rows 174 to 261 of /features"):
                file.features[key]
        assert file.features[:174].shape == (174, WIDE)
        assert file.features[261:].shape == (139, WIDE)


@pytest.mark.parametrize(
    ("name", "needle"),
    [
        ("labels", make_rows(0, INPUTS).labels.tobytes()),
        ("source_index", make_rows(0, INPUTS).source_index.tobytes()),
        ("content_sha256", b"\x09" * 32),
        ("ids", b"a/0011.jpg"),
    ],
)
def test_a_flipped_byte_in_a_column_is_found(tmp_path, name, needle) -> None:
    path = write(tmp_path / "out.h5")
    flip(path, needle)
    with open_features(path) as file, pytest.raises(StoreError, match=f"damaged.*{name}"):
        getattr(file, name)


def test_not_there(tmp_path) -> None:
    with pytest.raises(StoreNotFoundError, match=r"nothing\.h5"):
        open_features(tmp_path / "nothing.h5")
    with pytest.raises(FileNotFoundError):
        info(tmp_path / "nothing.h5")
    assert existing(tmp_path / "nothing.h5") is None


def test_unfinished(tmp_path) -> None:
    begin(tmp_path / "out.h5")
    with pytest.raises(StoreNotFoundError, match="run the extraction again"):
        open_features(tmp_path / "out.h5")


@pytest.mark.parametrize("content", [b"", b"no HDF5", bytes(10_000)])
def test_not_hdf5(tmp_path, content) -> None:
    (tmp_path / "x.h5").write_bytes(content)
    for read in (open_features, existing, info):
        with pytest.raises(StoreError, match=r"x\.h5 is no HDF5 file"):
            read(tmp_path / "x.h5")


def test_a_folder_is_no_feature_file(tmp_path) -> None:
    with pytest.raises(StoreError, match="is a folder"):
        open_features(tmp_path)


@pytest.mark.parametrize("kept", [100, 3000, -1])
def test_truncated(tmp_path, kept) -> None:
    path = write(tmp_path / "out.h5")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(StoreError, match="damaged"):
        open_features(path)


def test_foreign_hdf5(tmp_path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["features"] = np.zeros((2, 2))
    with pytest.raises(StoreError, match="no attribute schema"):
        open_features(tmp_path / "x.h5")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("schema", 2, r"written by a newer pool3 \(schema 2\); upgrade"),
        ("schema", 0, "schema 0"),
        ("schema", "one", "damaged"),
        ("sealed", False, "not sealed"),
        ("rows", 22, "23 inputs, 22 rows"),
        ("inputs", 24, "24 inputs, 23 rows"),
        ("libraries", "{", "damaged"),
        ("backbone", None, "damaged"),
        ("digests", None, "damaged"),
    ],
)
def test_attributes_are_checked(tmp_path, name, value, said) -> None:
    path = write(tmp_path / "out.h5")
    with h5py.File(path, "r+") as file:
        if value is None:
            del file.attrs[name]
        else:
            file.attrs[name] = value
    with pytest.raises(StoreError, match=said):
        open_features(path)


@pytest.mark.parametrize("name", ["features", "ids", "labels", "source_index", "content_sha256", "failures"])
def test_a_missing_dataset_is_found(tmp_path, name) -> None:
    path = write(tmp_path / "out.h5")
    with h5py.File(path, "r+") as file:
        del file[name]
    with pytest.raises(StoreError, match="damaged"):
        open_features(path)


def test_info_of_a_sealed_file(tmp_path) -> None:
    path = write(tmp_path / "out.h5", failed=[1, 3])
    facts = info(path, max_failures=1)
    json.dumps(facts)
    assert (facts["state"], facts["inputs"], facts["rows"], facts["failures"]) == ("sealed", 23, 21, 2)
    assert facts["labels"] == {"cat": 5, "dög": 6, "[bold]": 4}
    assert facts["unlabelled"] == 6
    assert facts["width"] == 5
    assert facts["committed"] == [[0, 23]]
    assert facts["progress"] == 1.0
    assert facts["failure_reasons"] == [{"stage": "decode", "error": "InvalidArgumentError", "count": 2}]
    assert [failure["index"] for failure in facts["failed"]] == [1]
    assert facts["provenance"]["libraries"] == PROVENANCE.libraries
    assert facts["bytes"] == path.stat().st_size


def test_info_of_an_unfinished_one(tmp_path) -> None:
    path = tmp_path / "out.h5"
    with begin(path, step=5) as writer:
        assert info(path)["progress"] == 0.0
        for limits in ((0, 5), (5, 10), (20, 23)):
            writer.commit(make_rows(*limits, failed=[21]))
    facts = info(path)
    json.dumps(facts)
    assert facts["state"] == "unfinished"
    assert facts["committed"] == [[0, 10], [20, 23]]
    assert (facts["rows"], facts["failures"]) == (12, 1)
    assert facts["progress"] == pytest.approx(13 / 23)
    assert sum(facts["labels"].values()) + facts["unlabelled"] == 12
    assert facts["failed"][0]["index"] == 21
    assert facts["finished"] is None
    assert facts["bytes"] > 0
    assert set(facts) == set(info(write(tmp_path / "b.h5")))


def test_differences_are_of_the_identity_unless_told() -> None:
    other = replace(PROVENANCE, device="GPU", decoder="")
    assert differences(PROVENANCE, PROVENANCE) == []
    assert differences(PROVENANCE, other) == ["decoder: tf.io.decode_image → (empty)"]
    assert differences(PROVENANCE, other, ["device"]) == ["device: CPU → GPU"]
    assert set(IDENTITY) <= set(PROVENANCE.to_mapping())
