"""Verification of a sealed file on its own: whatever is damaged is found, named, and never a traceback."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pool3.errors import StoreError, StoreNotFoundError
from pool3.store import merge_features, open_features
from pool3.store.digests import DATASETS
from pool3.store.verify import verify_file
from tests.store.examples import INPUTS, begin, make_rows, write
from tests.store.tampering import change, find, flip

FAILED = (1, 9)
COUNT, WIDE = 400, 3000
CHUNK = 87
ALL = [
    "file", "attributes", "fingerprint", "datasets", "counts", "indices", "labels", "environments",
    "finite", "checksums", "digests",
]  # fmt: skip


@pytest.fixture(scope="module")
def sealed(tmp_path_factory) -> Path:
    """21 rows and 2 failures."""
    return write(tmp_path_factory.mktemp("sealed") / "sealed.h5", failed=FAILED)


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """400 rows in five chunks."""
    path = tmp_path_factory.mktemp("wide") / "wide.h5"
    return write(path, inputs=COUNT, width=WIDE, step=150, feature_shape=(WIDE,))


@pytest.fixture
def copy(sealed, tmp_path) -> Path:
    return Path(shutil.copy(sealed, tmp_path / "copy.h5"))


def failed(path: Path) -> dict[str, str]:
    """Check → detail, of those that fail."""
    return {check.name: check.detail for check in verify_file(path) if not check.ok}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"failed": FAILED},
        {"failed": range(INPUTS)},
        {"storage": "float16"},
        {"label_names": (), "inputs": 1, "failed": [0]},
    ],
    ids=str,
)
def test_what_was_sealed_passes(tmp_path, settings) -> None:
    if settings.get("label_names") == ():
        with begin(tmp_path / "out.h5", inputs=1, label_names=()) as writer:
            writer.commit(make_rows(0, 1, classes=0))
            writer.seal()
    else:
        write(tmp_path / "out.h5", **settings)
    checks = verify_file(tmp_path / "out.h5")
    assert [check.name for check in checks] == ALL
    assert failed(tmp_path / "out.h5") == {}


def test_progress_counts_the_rows(wide) -> None:
    seen = []
    checks = verify_file(wide, progress=lambda *step: seen.append(step))
    assert all(check.ok for check in checks)
    assert seen == [(87, 400), (174, 400), (261, 400), (348, 400), (400, 400)]


@pytest.mark.parametrize("chunk", range(5))
def test_any_byte_of_a_chunk_of_features_names_its_rows(wide, tmp_path, chunk) -> None:
    """The checksum at its end included."""
    rng = np.random.default_rng(chunk)
    with h5py.File(wide) as file:
        info = file["features"].id.get_chunk_info_by_coord((chunk * CHUNK, 0))
    # The last chunk is stored in full: its tail past the last row belongs to the checksum all the same.
    places = [*rng.integers(0, info.size, 6).tolist(), 0, info.size - 1]
    for place in places:
        path = Path(shutil.copy(wide, tmp_path / "bad.h5"))
        flip(path, info.byte_offset + place, mask=int(rng.integers(1, 256)))
        found = failed(path)
        assert set(found) == {"checksums", "digests"}
        rows = f"rows {chunk * CHUNK} to {min((chunk + 1) * CHUNK, COUNT)} of /features "
        assert found["checksums"].startswith(rows)
        assert ";" not in found["checksums"]
        assert found["digests"].endswith(": /features")


def test_all_damage_is_told_at_once(wide, tmp_path) -> None:
    path = Path(shutil.copy(wide, tmp_path / "bad.h5"))
    with h5py.File(path) as file:
        places = [file["features"].id.get_chunk_info(chunk).byte_offset + 77 for chunk in (0, 2, 3)]
        places.append(file["labels"].id.get_chunk_info(0).byte_offset)
        places.append(file["content_sha256"].id.get_chunk_info(0).byte_offset + 5)
    flip(path, *places, find(path, b"a/0011.jpg"), find(path, b"legacy bilinear"))
    found = failed(path)
    for part in (
        "rows 0 to 400 of /labels",
        "rows 0 to 400 of /content_sha256",
        "rows 0 to 87 of /features",
        "rows 174 to 348 of /features",
    ):
        assert part in found["checksums"]
    assert found["checksums"].count("rows") == 4
    assert found["digests"] == "not what was sealed: /features, /ids, /labels, /content_sha256"
    assert set(found) == {"fingerprint", "labels", "checksums", "digests"}


@pytest.mark.parametrize("name", ["labels", "source_index", "content_sha256"])
def test_any_byte_of_a_column_is_found(sealed, tmp_path, name) -> None:
    with h5py.File(sealed) as file:
        info = file[name].id.get_chunk_info(0)
    for place in np.random.default_rng(0).integers(0, info.size, 8).tolist():
        path = Path(shutil.copy(sealed, tmp_path / "bad.h5"))
        flip(path, info.byte_offset + place, mask=0x10)
        found = failed(path)
        assert found["checksums"].startswith(f"rows 0 to 21 of /{name} ")
        assert found["digests"].endswith(f": /{name}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ids", b"a/0011.jpg"),
        ("ids", "naïve/日本.png".encode()),
        ("label_names", b"[bold]"),
        ("environments", b'"stop": 23'),
        ("failures", "bad « 9 »".encode()),
    ],
)
@pytest.mark.parametrize("mask", [1, 0x80])
def test_any_byte_of_a_text_is_found(tmp_path, name, text, mask) -> None:
    """Whether it is still text then, or no UTF-8 any more."""
    good = write(tmp_path / "good.h5", failed=[9])
    place = find(good, text)
    for offset in range(len(text)):
        path = Path(shutil.copy(good, tmp_path / "bad.h5"))
        flip(path, place + offset, mask=mask)
        assert failed(path)["digests"].endswith(f": /{name}")


def test_any_attribute_that_changed_is_found(sealed, tmp_path) -> None:
    with h5py.File(sealed) as file:
        attributes = dict(file.attrs)
    assert len(attributes) >= 30
    for name, value in attributes.items():
        path = Path(shutil.copy(sealed, tmp_path / "bad.h5"))
        other = (
            f"{value} " if isinstance(value, str) else value == 0 if name in ("tf32", "sealed") else value + 1
        )
        change(path, lambda file, name=name, other=other: file.attrs.__setitem__(name, other), reseal=False)
        assert ("file" if name == "schema" else "fingerprint") in failed(path), name


def test_any_byte_of_an_attributes_text_is_found(sealed, tmp_path) -> None:
    text = b"legacy bilinear to 299"
    for offset in range(len(text)):
        for mask in (1, 0x80):
            path = Path(shutil.copy(sealed, tmp_path / "bad.h5"))
            flip(path, find(path, text) + offset, mask=mask)
            assert set(failed(path)) == {"fingerprint"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backbone", 3),
        ("rows", "many"),
        ("inputs", -1),
        ("inputs", 23.0),
        ("sealed", 1),
        ("sealed", False),
        ("feature_shape", 5),
        ("libraries", "{"),
        ("digests", "[]"),
        ("digests", '{"features": 1}'),
        ("weights", np.array(["a", "b"], dtype=h5py.string_dtype())),
        ("weights", h5py.Empty("f")),
    ],
)
def test_attributes_of_other_types_are_named(copy, name, value) -> None:
    change(copy, lambda file: file.attrs.create(name, value), reseal=False)
    assert name in failed(copy)["attributes"]


@pytest.mark.parametrize("name", ["backbone", "digests", "fingerprint", "rows"])
def test_a_missing_attribute_is_named(copy, name) -> None:
    change(copy, lambda file: file.attrs.pop(name), reseal=False)
    found = failed(copy)
    assert name in found["attributes"]
    assert "fingerprint" in found


def test_an_attribute_of_a_damaged_type_does_not_crash_hdf5(copy) -> None:
    """Text turned into sequences of some other type; h5py would follow their places into nowhere."""
    place = find(copy, b"pool3_version\0\0\0") + 17
    for mask in (1, 2, 4, 8, 255):
        flip(copy, place, mask=mask)
        assert "pool3_version" in failed(copy)["attributes"]
        flip(copy, place, mask=mask)


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_dataset_is_named_and_the_others_are_checked(copy, name) -> None:
    change(copy, lambda file: file.pop(name), reseal=False)
    found = failed(copy)
    assert f"/{name} is missing" in found["datasets"]
    assert found["digests"] == f"not what was sealed: /{name}"


def _replace(name: str, **arguments: Any) -> Callable[[h5py.File], Any]:
    def edit(file: h5py.File) -> None:
        values = arguments.pop("data", None)
        values = file[name][()] if values is None else values
        del file[name]
        file.create_dataset(name, data=values, **arguments)

    return edit


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("features", {"dtype": "float64"}, "float64"),
        ("features", {"dtype": "float16", "chunks": (21, 5), "fletcher32": True}, "float16"),
        ("features", {}, "no checksums"),
        ("features", {"data": np.zeros((21, 4), "f4"), "chunks": True, "fletcher32": True}, "[1, 5]"),
        ("features", {"data": np.zeros(21, "f4")}, "(21,)"),
        ("labels", {"chunks": (21,)}, "no checksums"),
        ("labels", {"dtype": "int64"}, "int64"),
        ("source_index", {"data": h5py.Empty("i8")}, "None"),
        ("content_sha256", {"data": np.zeros((21, 16), "u1")}, "(21, 16)"),
        ("ids", {"data": np.array([b"x"] * 21)}, "|S1"),
        ("failures", {"data": np.zeros(2, [("index", "i8")])}, "index"),
    ],
)
def test_datasets_of_other_types_are_named(copy, name, arguments, said) -> None:
    change(copy, _replace(name, **arguments), reseal=False)
    found = failed(copy)
    assert f"/{name} " in found["datasets"]
    assert said in found["datasets"]


def test_a_group_in_the_place_of_a_dataset(copy) -> None:
    change(copy, lambda file: (file.pop("labels"), file.create_group("labels")), reseal=False)
    assert failed(copy)["datasets"] == "/labels is no dataset"


def test_a_file_that_claims_the_world_costs_nothing(copy) -> None:
    """Chunks that were never written cost no byte, and read as zeros for days."""

    def edit(file: h5py.File) -> None:
        del file["features"]
        file.create_dataset("features", (10**12, 5), "f4", chunks=(10**5, 5), fletcher32=True)
        file.attrs["rows"] = 10**12

    change(copy, edit, reseal=False)
    assert "more than the file has room for" in failed(copy)["datasets"]


def _put(name: str, where: Any, value: Any) -> Callable[[h5py.File], Any]:
    return lambda file: file[name].__setitem__(where, value)


def _environment(**fields: Any) -> Callable[[h5py.File], Any]:
    def edit(file: h5py.File) -> None:
        entry = json.loads(file["environments"].asstr()[0]) | fields
        file["environments"][0] = json.dumps({k: v for k, v in entry.items() if v is not None})

    return edit


def _failure(index: int) -> Callable[[h5py.File], Any]:
    def edit(file: h5py.File) -> None:
        records = file["failures"][()]
        records["index"][1] = index
        file["failures"][...] = records

    return edit


@pytest.mark.parametrize(
    ("edit", "name", "said"),
    [
        (lambda file: file.attrs.modify("rows", 20), "counts", "/features has 21, not 20"),
        (lambda file: file.attrs.modify("inputs", 24), "counts", "do not add up"),
        (lambda file: file.attrs.modify("failures", 3), "counts", "/failures has 2, not 3"),
        (_replace("ids", data=["x"] * 20, dtype=h5py.string_dtype()), "counts", "/ids has 20, not 21"),
        (_put("source_index", slice(3, 5), [5, 4]), "indices", "row 3 has 5"),
        (_put("source_index", 0, 1), "indices", "row 0 has 1"),
        (_put("source_index", 20, 23), "indices", "row 20 has 23"),
        (_failure(1), "indices", "do not ascend"),
        (_failure(23), "indices", "outside the inputs"),
        (_failure(10), "indices", "row 8 has 10"),
        (_put("labels", 4, 3), "labels", "row 4 has 3"),
        (_put("labels", 5, -2), "labels", "row 5 has -2"),
        (_environment(start=1), "environments", "do not cover the 23 inputs"),
        (_environment(stop=22), "environments", "do not cover the 23 inputs"),
        (_environment(device=None), "environments", "lacks a field"),
        (_put("environments", 0, "{"), "environments", "cannot be understood"),
        (_put("environments", 0, "[1]"), "environments", "cannot be understood"),
        (_put("features", (7, 2), np.nan), "finite", "1 rows hold NaN or infinity: 7"),
        (
            _put("features", (slice(3, 20), 0), -np.inf),
            "finite",
            "17 rows hold NaN or infinity: 3, 4, 5, 6, 7 and 12",
        ),
    ],
)
def test_what_does_not_fit_together_is_found_also_under_right_digests(copy, edit, name, said) -> None:
    change(copy, edit)
    found = failed(copy)
    assert said in found.pop(name)
    # Another count of inputs is one that the environments do not cover.
    assert set(found) <= ({"environments"} if name == "counts" else set())


def test_an_edit_without_new_digests_is_found(copy) -> None:
    """HDF5 writes a new checksum by itself."""
    change(copy, _put("features", (7, 2), 1.0), reseal=False)
    assert failed(copy) == {"digests": "not what was sealed: /features"}


@pytest.mark.parametrize("name", ["float16", "zero"])
def test_not_a_number_in_float16_and_nothing_in_no_rows(tmp_path, name) -> None:
    settings = {"storage": "float16"} if name == "float16" else {"failed": range(INPUTS)}
    path = write(tmp_path / "out.h5", **settings)
    if name == "float16":
        change(path, _put("features", (22, 4), np.inf))
        assert failed(path) == {"finite": "1 rows hold NaN or infinity: 22"}
    else:
        change(path, lambda file: file.attrs.modify("rows", 1))
        assert "/features has 0, not 1" in failed(path)["counts"]


def test_any_truncation_is_a_finding(sealed, tmp_path) -> None:
    data = sealed.read_bytes()
    for size in [0, 1, 8, len(data) - 1, *np.random.default_rng(0).integers(0, len(data), 30)]:
        (tmp_path / "bad.h5").write_bytes(data[: int(size)])
        found = failed(tmp_path / "bad.h5")
        assert list(found) == ["file"]
        assert "no HDF5 file, or a damaged one" in found["file"]


def test_bytes_anywhere_are_found_or_mean_nothing(sealed, tmp_path) -> None:
    """HDF5's own structure has unused space and no checksums: what is not found must not change what is read."""
    path = tmp_path / "bad.h5"
    data = sealed.read_bytes()
    rng = np.random.default_rng(1)  # others damage a length so that HDF5 takes gigabytes before it notices
    expected = _contents(sealed)
    undetected = 0
    for place, mask in zip(rng.integers(0, len(data), 200), rng.integers(1, 256, 200), strict=True):
        damaged = bytearray(data)
        damaged[place] ^= mask
        path.write_bytes(damaged)
        if not failed(path):
            undetected += 1
            assert _contents(path) == expected, place
    assert 100 < undetected < 170


def _contents(path: Path) -> tuple[Any, ...]:
    with h5py.File(path) as file:
        attributes = {name: repr(value) for name, value in file.attrs.items()}
        return attributes, {name: repr(file[name][()].tolist()) for name in DATASETS}


@pytest.mark.parametrize("virtual", [False, True])
def test_a_merged_file_passes(sealed, wide, tmp_path, virtual) -> None:
    parts = [Path(shutil.copy(sealed, tmp_path / f"{name}.h5")) for name in "ab"]
    merge_features(parts, tmp_path / "all.h5", virtual=virtual, prefix_ids=True)
    checks = verify_file(tmp_path / "all.h5")
    assert [check.name for check in checks if check.name != "parts"] == ALL
    assert ("parts" in [check.name for check in checks]) == virtual
    assert failed(tmp_path / "all.h5") == {}


def test_damage_in_the_parts_of_a_virtual_file(wide, tmp_path) -> None:
    parts = [Path(shutil.copy(wide, tmp_path / f"{name}.h5")) for name in "ab"]
    merged = tmp_path / "all.h5"
    merge_features(parts, merged, virtual=True, prefix_ids=True)
    with h5py.File(parts[1]) as file:
        place = file["features"].id.get_chunk_info(1).byte_offset
    flip(parts[1], place)
    found = failed(merged)
    # Rows 87 to 174 of the second part, told in steps of the merged file.
    assert found["checksums"] == "rows 435 to 609 of /features cannot be read, or not with their checksums"
    assert found["digests"].endswith(": /features")
    parts[1].unlink()
    found = failed(merged)
    assert str(parts[1]) in found["parts"]
    assert found["digests"].endswith(": /features")
    write(parts[1], inputs=COUNT, width=WIDE, feature_shape=(WIDE,), created="another day")
    assert set(failed(merged)) == {"parts"}


def test_other_files(tmp_path, copy) -> None:
    with pytest.raises(StoreNotFoundError, match="there is no feature file"):
        verify_file(tmp_path / "nothing.h5")
    with pytest.raises(StoreError, match="is a folder"):
        verify_file(tmp_path)
    begin(tmp_path / "unfinished.h5").close()
    with pytest.raises(StoreNotFoundError, match="run the extraction again"):
        verify_file(tmp_path / "unfinished.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    assert "no HDF5 file" in failed(tmp_path / "text.h5")["file"]
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["features"] = np.zeros((2, 2))
    assert "no attribute schema" in failed(tmp_path / "foreign.h5")["file"]
    change(copy, lambda file: file.attrs.modify("schema", 2), reseal=False)
    assert "newer pool3 (schema 2); upgrade" in failed(copy)["file"]
    change(copy, lambda file: file.attrs.__setitem__("schema", "one"), reseal=False)
    assert list(failed(copy)) == ["file"]


def test_verifying_changes_nothing(copy) -> None:
    before = copy.read_bytes()
    with open_features(copy):
        assert failed(copy) == {}
    assert copy.read_bytes() == before
