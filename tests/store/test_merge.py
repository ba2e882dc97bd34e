"""Merging: the rows of several files in one, copied or left where they are, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import pool3
from pool3.errors import OutputExistsError, SpecError, StoreError
from pool3.store import merge_features
from tests.store.examples import WIDTH, write
from tests.test_cli import pool3 as command

FAILED = (2, 9)


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Two files of other label names, made from other sources; the ids are told apart by a prefix."""
    first = write(tmp_path / "first.h5", failed=FAILED, label_names=("cat", "dog", "bird"))
    second = write(
        tmp_path / "parts" / "second.h5", label_names=("fish", "cat", "x"), source_manifest_sha256="44" * 32
    )
    return [first, second]


@pytest.mark.parametrize("virtual", [False, True])
def test_rows_failures_and_labels_follow_each_other(files, tmp_path, virtual, monkeypatch) -> None:
    output = tmp_path / "deep" / "all.h5"
    seen = []
    result = merge_features(
        files,
        output,
        virtual=virtual,
        prefix_ids=True,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (result.files, result.inputs, result.rows, result.failures) == (2, 46, 44, 2)
    assert seen[-1] == (46, 46)
    monkeypatch.chdir("/")  # what a virtual file refers to is found from anywhere
    with (
        pool3.open_features(files[0]) as a,
        pool3.open_features(files[1]) as b,
        pool3.open_features(output) as both,
    ):
        assert np.array_equal(both.features[:], np.concatenate([a.features[:], b.features[:]]))
        assert both.features[:].any()
        assert both.ids == [f"first/{id_}" for id_ in a.ids] + [f"second/{id_}" for id_ in b.ids]
        assert both.source_index.tolist() == [*a.source_index, *(b.source_index + 23)]
        assert np.array_equal(both.content_sha256, np.concatenate([a.content_sha256, b.content_sha256]))
        assert both.label_names == ("cat", "dog", "bird", "fish", "x")
        names = [*(a.label_names[i] if i >= 0 else None for i in a.labels)]
        names += [b.label_names[i] if i >= 0 else None for i in b.labels]
        assert [both.label_names[i] if i >= 0 else None for i in both.labels] == names
        assert [(f.index, f.id) for f in both.failures] == [
            (i, f"first/{a.failures[k].id}") for k, i in enumerate(FAILED)
        ]
        assert both.environments == [a.environments[0] | {"stop": 46}]
        assert [(part["fingerprint"], part["rows"]) for part in both.parts] == [
            (a.fingerprint, 21),
            (b.fingerprint, 23),
        ]
        assert both.digests["features"] != a.digests["features"]
    assert (output.stat().st_size < sum(file.stat().st_size for file in files)) or not virtual
    with h5py.File(output) as file:
        assert file["features"].is_virtual == virtual
        assert file["features"].shape == (44, WIDTH)
    assert sorted(path.name for path in output.parent.iterdir()) == ["all.h5"]


def test_a_merged_file_merges_again(files, tmp_path) -> None:
    once = merge_features(files, tmp_path / "once.h5", prefix_ids=True, virtual=True).output
    twice = merge_features([once, write(tmp_path / "third.h5")], tmp_path / "twice.h5", virtual=True).output
    with pool3.open_features(twice) as file, pool3.open_features(tmp_path / "third.h5") as third:
        assert len(file) == 67
        assert np.array_equal(file.features[44:], third.features[:])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"precision": "bfloat16"}, "precision: float32 → bfloat16"),
        ({"tensor_digest": "99" * 32}, "tensor_digest: 222222222222… → 999999999999…"),
        ({"decoder": "another"}, "decoder: tf.io.decode_image → another"),
        ({"feature_shape": (5, 1)}, "feature_shape"),
    ],
)
def test_files_of_other_settings_are_refused(tmp_path, change, named) -> None:
    files = [write(tmp_path / "a.h5"), write(tmp_path / "b.h5", **change)]
    with pytest.raises(SpecError, match=named):
        merge_features(files, tmp_path / "all.h5", prefix_ids=True)
    assert not (tmp_path / "all.h5").exists()


def test_an_image_is_there_once(files, tmp_path) -> None:
    with pytest.raises(SpecError, match=r"first\.h5 and .*second\.h5 both hold the image 'a/0000\.jpg'"):
        merge_features(files, tmp_path / "all.h5")
    with pytest.raises(SpecError, match="both hold"):
        merge_features([files[0], files[0]], tmp_path / "all.h5", prefix_ids=True)
    # A failure of one is a row of the other.
    with pytest.raises(SpecError, match="both hold"):
        merge_features([write(tmp_path / "x.h5", failed=range(23)), files[1]], tmp_path / "all.h5")
    with pytest.raises(SpecError, match="at least one"):
        merge_features([], tmp_path / "all.h5")


def test_nothing_is_overwritten_unasked_and_no_part_ever(files, tmp_path) -> None:
    output = write(tmp_path / "all.h5", inputs=3)
    before = output.read_bytes()
    with pytest.raises(OutputExistsError, match="--overwrite"):
        merge_features(files, output, prefix_ids=True)
    assert output.read_bytes() == before
    merge_features(files, output, prefix_ids=True, overwrite=True)
    with pool3.open_features(output) as file:
        assert len(file) == 44
    (tmp_path / "link.h5").symlink_to(files[0])
    for place in (files[0], tmp_path / "link.h5"):
        with pytest.raises(OutputExistsError, match="one of the files"):
            merge_features(files, place, prefix_ids=True, overwrite=True)
    with pytest.raises(StoreError, match="folder"):
        merge_features(files, tmp_path, prefix_ids=True)


@pytest.mark.parametrize("virtual", [False, True])
def test_damage_in_a_part_ends_the_merge_and_leaves_nothing(files, tmp_path, virtual) -> None:
    with h5py.File(files[1]) as file:
        offset = file["features"].id.get_chunk_info(0).byte_offset
    with files[1].open("r+b") as raw:
        raw.seek(offset + 7)
        raw.write(b"\xff")
    with pytest.raises(StoreError, match=r"second\.h5 is damaged in rows 0 to 23"):
        merge_features(files, tmp_path / "all.h5", virtual=virtual, prefix_ids=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.h5", "parts"]


def test_a_virtual_file_needs_its_parts_as_they_were(files, tmp_path) -> None:
    """HDF5 itself would read zeros for a part that is gone."""
    output = merge_features(files, tmp_path / "all.h5", virtual=True, prefix_ids=True).output
    content = files[1].read_bytes()
    files[1].unlink()
    with pytest.raises(StoreError, match=r"second\.h5, which cannot be read"):
        pool3.open_features(output)
    write(files[1], label_names=("fish", "cat", "x"))
    with pytest.raises(StoreError, match=r"second\.h5, which is another file by now"):
        pool3.open_features(output)
    files[1].write_bytes(content)
    with pool3.open_features(output) as file:
        assert file.features[:].any(axis=1).all()


def test_a_virtual_file_moves_with_its_parts(files, tmp_path) -> None:
    merge_features(files, tmp_path / "all.h5", virtual=True, prefix_ids=True)
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    with pool3.open_features(moved / "all.h5") as file:
        assert file.features[30].any()


def test_float16_stays_float16(tmp_path) -> None:
    files = [write(tmp_path / f"{name}.h5", storage="float16", inputs=9) for name in "ab"]
    merge_features(files, tmp_path / "all.h5", prefix_ids=True)
    with pool3.open_features(tmp_path / "all.h5") as file, pool3.open_features(files[1]) as b:
        assert file.features.dtype == np.float16
        assert np.array_equal(file.features[9:], b.features[:])


def test_files_without_rows(tmp_path) -> None:
    empty = write(tmp_path / "empty.h5", failed=range(23))
    for virtual in (False, True):
        merge_features([empty], tmp_path / "all.h5", virtual=virtual, overwrite=True)
        with pool3.open_features(tmp_path / "all.h5") as file:
            assert (len(file), len(file.failures)) == (0, 23)


def test_on_the_command_line(files, tmp_path) -> None:
    output = tmp_path / "all.h5"
    done = command("merge", *files, "-o", output, "--prefix-ids", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "output": str(output), "files": 2, "inputs": 46, "rows": 44, "failures": 2, "virtual": False,
        "bytes": output.stat().st_size,
    }  # fmt: skip
    again = command("merge", *files, "-o", output, "--prefix-ids")
    assert again.returncode == 1
    assert "exists, so it was left alone" in again.stderr
    again = command("merge", *files, "-o", output, "--prefix-ids", "--overwrite", "--virtual")
    assert again.stdout == f"{output}: 44 rows, 2 failures of 2 files, features left in them\n"
    assert "sealed" in command("info", output).stdout


def test_merging_needs_no_tensorflow(files, tmp_path) -> None:
    code = (
        "import sys, pool3; pool3.merge_features(sys.argv[2:], sys.argv[1], prefix_ids=True); "
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "all.h5"), *map(str, files)], check=True)
