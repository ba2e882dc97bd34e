import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from pool3.errors import OutputExistsError, StoreError
from pool3.store import Failure, existing, open_features
from pool3.store import folder as folder_module
from pool3.store import writer as writer_module
from tests.store.examples import INPUTS, NAMES, PROVENANCE, WIDTH, begin, id_of, make_rows, write

FAILED = {0, 6, 7, 22}


def contents(path: Path) -> dict[str, tuple]:
    """Every dataset's dtype, shape and values as bytes."""
    with h5py.File(path) as file:
        return {
            name: (str(file[name].dtype), file[name].shape, repr(file[name][()].tolist())) for name in file
        } | {"raw": (file["features"][()].tobytes(),)}


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def shards(path: Path) -> list[Path]:
    return sorted(Path(f"{path}.shards").glob("*.shard"))


def test_round_trip(tmp_path) -> None:
    path = write(tmp_path / "sub" / "out.h5", failed=FAILED)
    kept = [i for i in range(INPUTS) if i not in FAILED]
    with open_features(path) as file:
        assert len(file) == len(kept)
        assert file.inputs == INPUTS
        assert file.ids == [id_of(i) for i in kept]
        assert file.source_index.tolist() == kept
        assert file.source_index.dtype == np.int64
        assert file.labels.tolist() == [i % 4 - 1 for i in kept]
        assert file.labels.dtype == np.int32
        assert file.label_names == NAMES
        assert file.content_sha256[:, 31].tolist() == kept
        assert file.content_sha256.dtype == np.uint8
        assert file.features.dtype == np.float32
        expected = np.concatenate([make_rows(0, INPUTS, failed=FAILED).features])
        np.testing.assert_array_equal(file.features[:], expected)
        assert file.failures == make_rows(0, INPUTS, failed=FAILED).failures
        assert file.provenance == PROVENANCE
        assert file.finished.endswith("+00:00")
    assert list(snapshot(tmp_path)) == ["sub/out.h5"]


def test_others_read_it_with_h5py_alone(tmp_path) -> None:
    with h5py.File(write(tmp_path / "out.h5", failed=[3])) as file:
        assert file.attrs["schema"] == 1
        assert file.attrs["sealed"]
        assert file.attrs["inputs"] == file.attrs["rows"] + file.attrs["failures"] == INPUTS
        assert file.attrs["backbone"] == "inception_v3"
        assert file.attrs["feature_shape"].tolist() == [1, 5]
        assert file.attrs["libraries"] == '{"numpy": "2.0", "tensorflow": "2.21"}'
        assert file["features"].fletcher32
        assert all(file[name].fletcher32 for name in ("labels", "source_index", "content_sha256"))
        assert file["ids"].asstr()[1] == "naïve/日本.png"
        assert file["failures"]["index"].tolist() == [3]
        assert file["failures"]["id"][0].decode() == id_of(3)
        names = file["label_names"].asstr()[:]
        assert [names[label] for label in file["labels"][:3] if label >= 0] == ["cat", "dög"]


def test_chunks_hold_about_a_mebibyte(tmp_path) -> None:
    with begin(tmp_path / "out.h5", width=2048, inputs=300, step=300) as writer:
        writer.commit(make_rows(0, 300, width=2048))
        with h5py.File(writer.seal()) as file:
            assert file["features"].chunks == (128, 2048)


@pytest.mark.parametrize("step", [1, 3, 7, 23, 1000])
def test_datasets_do_not_depend_on_the_shards(tmp_path, step) -> None:
    straight = contents(write(tmp_path / "straight.h5", failed=FAILED))
    assert contents(write(tmp_path / "other.h5", failed=FAILED, step=step)) == straight


def test_datasets_are_the_same_through_many_full_buffers(tmp_path) -> None:
    """Wide rows, so that ranges and failures fall at odd places of the seal's buffer of 8 chunks of 1 MiB."""
    lost = set(range(5, 400, 37))
    files = [
        write(tmp_path / f"{step}.h5", failed=lost, step=step, inputs=400, width=40_000)
        for step in (400, 90, 1)
    ]
    with open_features(files[0]) as first:
        np.testing.assert_array_equal(first.features[:, 0], [i * 1000 for i in range(400) if i not in lost])
    assert len({contents(path)["raw"] for path in files}) == 1


@pytest.mark.parametrize("pattern", [[1, 1, 2], [3, 1], [0, 4], [2, 0, 0, 2]])
def test_a_dropped_writer_is_resumed(tmp_path, pattern) -> None:
    straight = contents(write(tmp_path / "straight.h5", failed=FAILED))
    path = tmp_path / "out.h5"
    for commits in pattern:
        writer = begin(path, batch_size=64, step=50) if shards(path) else begin(path)
        assert writer.rows_per_shard == 7
        assert writer.provenance.batch_size == 4
        pending = writer.pending()
        assert pending == sorted(pending)
        for start, stop in pending[:commits][::-1]:
            writer.commit(make_rows(start, stop, failed=FAILED))
        del writer
    assert existing(path) == "unfinished"
    with begin(path) as writer:
        assert writer.pending() == []
        assert (writer.rows, writer.failures) == (19, 4)
        writer.seal()
    assert contents(path) == straight


def test_the_shards_names_are_their_ranges(tmp_path) -> None:
    with begin(tmp_path / "out.h5") as writer:
        for limits in writer.pending()[1:3]:
            writer.commit(make_rows(*limits))
        assert [p.name for p in shards(writer.path)] == [
            "000000000007-000000000014.shard",
            "000000000014-000000000021.shard",
        ]
        assert writer.pending() == [(0, 7), (21, 23)]


def test_a_sealed_output_is_complete(tmp_path) -> None:
    path = write(tmp_path / "out.h5", failed=FAILED)
    before = path.read_bytes()
    assert existing(path) == "sealed"
    with begin(path, step=3, batch_size=8) as writer:
        assert writer.pending() == []
        assert (writer.rows, writer.failures, writer.inputs) == (19, 4, INPUTS)
        assert writer.provenance == PROVENANCE
        assert writer.seal() == path
    assert path.read_bytes() == before


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"precision": "bfloat16"}, ["precision: float32 → bfloat16"]),
        ({"tensor_digest": "44" * 32, "weights": "random:1"}, ["tensor_digest: 222222222222… → 444444444444…",
                                                               "weights random:0 → random:1"]),
        ({"source_manifest_sha256": "55" * 32, "inputs": 24}, ["source_manifest_sha256", "inputs: 23 → 24"]),
        ({"width": 6}, ["width: 5 → 6"]),
        ({"label_names": ("cat", "dög", "cow")}, ["label_names: number 2 '[bold]' → 'cow'"]),
        ({"label_names": ("cat",)}, ["label_names: 3 → 1 names"]),
        ({"backbone": "b", "feature": "f", "preprocessing": "p", "decoder": "d"},
         ["backbone: inception_v3 → b", "feature: pool_3 → f", "preprocessing: legacy", "decoder: tf.io"]),
    ],
)  # fmt: skip
def test_other_settings_are_refused_by_name(tmp_path, sealed, changes, named) -> None:
    path = tmp_path / "out.h5"
    if sealed:
        write(path)
    else:
        begin(path).commit(make_rows(0, 7))
        (tmp_path / "out.h5.shards" / "x.pool3-tmp").touch()
    before = snapshot(tmp_path)
    with pytest.raises(OutputExistsError) as caught:
        begin(path, **changes)
    for part in [*named, "--overwrite"]:
        assert part in str(caught.value)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("sealed", [True, False])
def test_overwrite_starts_again(tmp_path, sealed) -> None:
    path = tmp_path / "out.h5"
    if sealed:
        write(path)
    else:
        begin(path).commit(make_rows(0, 7))
    with begin(path, step=10, precision="bfloat16", overwrite=True) as writer:
        assert writer.pending() == [(0, 10), (10, 20), (20, 23)]
        assert writer.provenance.precision == "bfloat16"
    assert path.exists() is sealed


def test_overwrite_keeps_the_old_file_until_the_new_one_is_sealed(tmp_path) -> None:
    """Stopped in between and gone on with, without asking to overwrite once more."""
    path = write(tmp_path / "out.h5")
    before = path.read_bytes()
    with begin(path, step=10, precision="bfloat16", overwrite=True) as writer:
        writer.commit(make_rows(0, 10))
    assert path.read_bytes() == before
    with begin(path, step=10, precision="bfloat16") as writer:
        assert writer.pending() == [(10, 20), (20, 23)]
        for limits in writer.pending():
            writer.commit(make_rows(*limits))
        assert path.read_bytes() == before
        writer.seal()
    with open_features(path) as file:
        assert file.provenance.precision == "bfloat16"
    assert not path.with_name("out.h5.shards").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_file_is_left_alone(tmp_path, overwrite) -> None:
    path = tmp_path / "out.h5"
    path.write_bytes(b"my thesis")
    with pytest.raises(OutputExistsError, match="left alone"):
        begin(path, overwrite=overwrite)
    assert snapshot(tmp_path) == {"out.h5": b"my thesis"}
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="is a folder"):
        begin(tmp_path / "folder", overwrite=True)


def test_foreign_files_among_the_shards_survive(tmp_path) -> None:
    path = tmp_path / "out.h5"
    begin(path)
    mine = tmp_path / "out.h5.shards" / "notes.txt"
    mine.write_text("keep")
    write(path)
    assert mine.read_text() == "keep"


def test_leftovers_of_a_killed_process_are_removed(tmp_path) -> None:
    path = tmp_path / "out.h5"
    begin(path).commit(make_rows(0, 7))
    (tmp_path / "out.h5.shards" / "000000000007-000000000014.shard.pool3-tmp").write_bytes(b"half")
    (tmp_path / "out.h5.partial").write_bytes(b"half")
    with begin(path) as writer:
        assert writer.pending()[0] == (7, 14)
    assert sorted(snapshot(tmp_path)) == [
        "out.h5.shards/000000000000-000000000007.shard",
        "out.h5.shards/manifest.json",
    ]


def test_killed_between_the_rename_and_the_removal_of_the_shards(tmp_path, monkeypatch) -> None:
    path = tmp_path / "out.h5"
    with monkeypatch.context() as patch:
        patch.setattr(folder_module.ShardFolder, "remove", lambda _: None)
        write(path)
    assert len(shards(path)) == 4
    before = path.read_bytes()
    assert begin(path).pending() == []
    assert snapshot(tmp_path) == {"out.h5": before}


def test_killed_before_the_manifest(tmp_path) -> None:
    (tmp_path / "out.h5.shards").mkdir()
    (tmp_path / "out.h5.shards" / "manifest.json.pool3-tmp").write_bytes(b"{")
    assert existing(tmp_path / "out.h5") is None
    write(tmp_path / "out.h5")
    assert list(snapshot(tmp_path)) == ["out.h5"]


def test_shards_without_a_manifest_are_not_guessed_at(tmp_path) -> None:
    begin(tmp_path / "out.h5").commit(make_rows(0, 7))
    (tmp_path / "out.h5.shards" / "manifest.json").unlink()
    with pytest.raises(StoreError, match="without a manifest"):
        begin(tmp_path / "out.h5")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 1}'])
def test_a_damaged_manifest(tmp_path, text) -> None:
    begin(tmp_path / "out.h5")
    (tmp_path / "out.h5.shards" / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=r"manifest\.json.*--overwrite"):
        begin(tmp_path / "out.h5")


def test_a_newer_manifest(tmp_path) -> None:
    begin(tmp_path / "out.h5")
    manifest = tmp_path / "out.h5.shards" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(StoreError, match=r"newer pool3 \(schema 2\)"):
        begin(tmp_path / "out.h5")


def test_seal_refuses_until_every_input_is_accounted_for(tmp_path) -> None:
    with begin(tmp_path / "out.h5") as writer:
        writer.commit(make_rows(0, 7, failed={2}))
        before = snapshot(tmp_path)
        with pytest.raises(StoreError, match="23 inputs, but 6 rows and 1 failures"):
            writer.seal()
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("limits", [(0, 14), (5, 9), (7, 21), (21, 28), (30, 37), (-7, 0), (3, 3)])
def test_a_foreign_range_is_refused(tmp_path, limits) -> None:
    with begin(tmp_path / "out.h5") as writer, pytest.raises(StoreError, match="not pending"):
        writer.commit(make_rows(*limits))
    assert not shards(tmp_path / "out.h5")


def test_a_range_is_committed_once_and_not_after_the_close(tmp_path) -> None:
    with begin(tmp_path / "out.h5") as writer:
        writer.commit(make_rows(0, 7))
        with pytest.raises(StoreError, match="not pending"):
            writer.commit(make_rows(0, 7))
    with pytest.raises(StoreError, match="closed"):
        writer.commit(make_rows(7, 14))


ROWS = make_rows(0, 7, failed={2})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"failures": []}, "exactly once"),
        ({"failures": [replace(ROWS.failures[0], index=3)]}, "exactly once"),
        ({"failures": [ROWS.failures[0], ROWS.failures[0]]}, "ascend"),
        ({"source_index": ROWS.source_index[::-1].copy()}, "ascend"),
        ({"source_index": ROWS.source_index + 1}, "exactly once"),
        ({"source_index": ROWS.source_index.astype(np.int32)}, "int32"),
        ({"ids": ROWS.ids[:-1]}, "as many ids"),
        ({"ids": [*ROWS.ids[:-1], "a\0b"]}, "cannot be stored"),
        ({"ids": [*ROWS.ids[:-1], "\udcff"]}, "cannot be stored"),
        ({"features": ROWS.features.astype(np.float64)}, "float64"),
        ({"features": ROWS.features[:, 1:]}, "features"),
        ({"features": ROWS.features[1:]}, "features"),
        ({"content_sha256": ROWS.content_sha256[:, 1:]}, "content_sha256"),
        ({"labels": ROWS.labels.astype(np.int64)}, "labels"),
        ({"labels": ROWS.labels + 3}, "3 label names"),
        ({"labels": ROWS.labels - 1}, "3 label names"),
    ],
)
def test_rows_that_do_not_add_up_are_refused(tmp_path, change, named) -> None:
    with begin(tmp_path / "out.h5") as writer, pytest.raises(StoreError, match=named):
        writer.commit(replace(ROWS, **change))
    assert not shards(tmp_path / "out.h5")


def test_a_strange_message_does_not_stop_a_run(tmp_path) -> None:
    failure = Failure(0, "x", "decode", "Error", "nul \0, surrogate \udc80")
    with begin(tmp_path / "out.h5", inputs=1) as writer:
        writer.commit(replace(make_rows(0, 1, failed={0}), failures=[failure]))
        with open_features(writer.seal()) as file:
            assert file.failures[0].message == "nul \\x00, surrogate \\udc80"


def test_failures_only(tmp_path) -> None:
    with open_features(write(tmp_path / "out.h5", failed=range(INPUTS))) as file:
        assert len(file) == 0
        assert file.features.shape == (0, WIDTH)
        assert file.features[:].shape == (0, WIDTH)
        assert list(file.features) == []
        assert file.ids == []
        assert file.labels.shape == (0,)
        assert file.content_sha256.shape == (0, 32)
        assert [failure.index for failure in file.failures] == list(range(INPUTS))


def test_no_inputs_and_no_classes(tmp_path) -> None:
    with open_features(write(tmp_path / "out.h5", inputs=0, label_names=())) as file:
        assert (len(file), file.inputs, file.failures, file.label_names) == (0, 0, [], ())


def test_text_that_hdf5_cannot_hold_in_the_provenance(tmp_path) -> None:
    path = write(tmp_path / "out.h5", source="caf\udce9/\0")
    assert open_features(path).provenance.source == "caf\\udce9/\\x00"


@pytest.mark.parametrize("position", [0, 40, 200, -100, -30, -3])
def test_a_flipped_byte_in_a_shard_is_found_at_the_seal(tmp_path, position) -> None:
    path = tmp_path / "out.h5"
    with begin(path) as writer:
        for limits in writer.pending():
            writer.commit(make_rows(*limits, failed=FAILED))
        shard = shards(path)[1]
        good = shard.read_bytes()
        bad = bytearray(good)
        bad[position] ^= 1
        shard.write_bytes(bad)
        with pytest.raises(
            StoreError, match=r"000000000007-000000000014\.shard is damaged.*delete it and run again"
        ):
            writer.seal()
        assert not path.exists()
        assert not Path(f"{path}.partial").exists()
    shard.unlink()
    with begin(path) as writer:
        assert writer.pending() == [(7, 14)]
        writer.commit(make_rows(7, 14, failed=FAILED))
        assert shard.read_bytes() == good
        writer.seal()


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_shard_is_found(tmp_path, kept) -> None:
    path = tmp_path / "out.h5"
    with begin(path) as writer:
        for limits in writer.pending():
            writer.commit(make_rows(*limits))
        shards(path)[1].write_bytes(shards(path)[1].read_bytes()[:kept])
        with pytest.raises(StoreError, match=r"000000000007-000000000014\.shard is damaged"):
            writer.seal()
    with pytest.raises(StoreError, match="delete it and run again"):
        begin(path)


def test_a_shard_of_another_run_is_refused(tmp_path) -> None:
    begin(tmp_path / "a.h5").commit(make_rows(0, 7))
    begin(tmp_path / "b.h5", precision="bfloat16")
    shards(tmp_path / "a.h5")[0].rename(tmp_path / "b.h5.shards" / "000000000000-000000000007.shard")
    with pytest.raises(StoreError, match="another run"):
        begin(tmp_path / "b.h5", precision="bfloat16")


def test_a_renamed_shard_is_refused(tmp_path) -> None:
    begin(tmp_path / "a.h5").commit(make_rows(0, 7))
    shards(tmp_path / "a.h5")[0].rename(tmp_path / "a.h5.shards" / "000000000007-000000000014.shard")
    with pytest.raises(StoreError, match="another run"):
        begin(tmp_path / "a.h5")


def test_a_full_disk_is_a_clear_error_and_costs_no_commit(tmp_path, monkeypatch) -> None:
    path = tmp_path / "out.h5"

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with begin(path) as writer:
        writer.commit(make_rows(0, 7))
        before = snapshot(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr("pool3.store.disk.os.fsync", full)
            with pytest.raises(StoreError, match="No space left on device"):
                writer.commit(make_rows(7, 14))
        assert snapshot(tmp_path) == before
        for limits in writer.pending():
            writer.commit(make_rows(*limits))
        before = snapshot(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(writer_module, "write_sealed", full)
            with pytest.raises(StoreError, match="No space left on device"):
                writer.seal()
        assert snapshot(tmp_path) == before
        writer.seal()


@pytest.mark.parametrize("settings", [{"inputs": -1}, {"width": 0}, {"step": 0}, {"label_names": ("a\0",)}])
def test_settings_that_make_no_file(tmp_path, settings) -> None:
    with pytest.raises(StoreError):
        begin(tmp_path / "out.h5", **settings)
    assert snapshot(tmp_path) == {}


def test_a_commit_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch) -> None:
    """fsync of the data, then the rename, then fsync of the folder."""
    events: list[str] = []
    sync, replace_ = os.fsync, Path.replace

    def noted_sync(descriptor: int) -> None:
        events.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        events.append(f"rename {self.name}")
        return replace_(self, target)

    with begin(tmp_path / "out.h5", inputs=7) as writer:
        monkeypatch.setattr(os, "fsync", noted_sync)
        monkeypatch.setattr(Path, "replace", noted_replace)
        writer.commit(make_rows(0, 7))
        name = "000000000000-000000000007.shard.pool3-tmp"
        assert events == [f"sync {name}", f"rename {name}", "sync out.h5.shards"]
        events.clear()
        writer.seal()
        assert events[:3] == ["sync out.h5.partial", "rename out.h5.partial", f"sync {tmp_path.name}"]
