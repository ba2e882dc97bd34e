"""Failures tried again: their rows land in the right places, in a sealed file and in an unfinished one."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import pool3
from pool3.errors import OutputExistsError, StoreError
from pool3.store import FeatureWriter, Rows
from tests.store.examples import INPUTS, PROVENANCE, begin, make_rows, write

FAILED = (1, 2, 8, 13, 22)


def patch(limits: tuple[int, int], again: list[int], still: tuple[int, ...] = ()) -> Rows:
    """What trying `again` gives: rows, but for those that fail still."""
    whole = make_rows(*limits, failed=still)
    kept = np.isin(whole.source_index, again)
    return replace(
        whole,
        source_index=whole.source_index[kept],
        ids=[id_ for id_, keep in zip(whole.ids, kept, strict=True) if keep],
        labels=whole.labels[kept],
        content_sha256=whole.content_sha256[kept],
        features=whole.features[kept],
        failures=[failure for failure in whole.failures if failure.index in again],
    )


def content(path: Path) -> dict[str, list]:
    with h5py.File(path) as file:
        return {name: file[name][()].tolist() for name in file}


def retry(path: Path, still: tuple[int, ...] = (), **changes: object) -> FeatureWriter:
    with begin(path, retry_failed=True, **changes) as writer:
        for limits, indices in writer.failed():
            writer.amend(patch(limits, indices.tolist(), still))
        writer.seal()
        return writer


@pytest.mark.parametrize("still", [(), (2, 22)])
def test_a_sealed_file_becomes_the_one_that_failed_less(tmp_path, still) -> None:
    path = write(tmp_path / "out.h5", failed=FAILED)
    writer = retry(path, still)
    assert (writer.rows, writer.failures) == (INPUTS - len(still), len(still))
    assert content(path) == content(write(tmp_path / "straight.h5", failed=still))
    assert [
        entry.name for entry in tmp_path.iterdir() if "shards" in entry.name or "part" in entry.name
    ] == []
    with pool3.open_features(path) as file:
        assert len(file) == INPUTS - len(still)
        assert [failure.index for failure in file.failures] == list(still)


def test_an_unfinished_output_is_mended_before_it_goes_on(tmp_path) -> None:
    path = tmp_path / "out.h5"
    with begin(path) as writer:
        writer.commit(make_rows(0, 7, failed={1, 2}))
        writer.commit(make_rows(7, 11, failed={8}))  # an interrupted range
    with begin(path, retry_failed=True) as writer:
        assert [(limits, list(some)) for limits, some in writer.failed()] == [
            ((0, 7), [1, 2]),
            ((7, 11), [8]),
        ]
        writer.amend(patch((0, 7), [1]))  # a part of what failed there
        assert (writer.rows, writer.failures) == (9, 2)
        assert [(limits, list(some)) for limits, some in writer.failed()] == [((0, 7), [2]), ((7, 11), [8])]
        writer.amend(patch((7, 11), [8]))
        assert writer.pending() == [(11, 14), (14, 21), (21, 23)]
        for start, stop in writer.pending():
            writer.commit(make_rows(start, stop))
        writer.seal()
    assert content(path) == content(write(tmp_path / "straight.h5", failed={2}))


def test_an_interrupted_retry_goes_on_and_the_file_stays_as_it_was_meanwhile(tmp_path) -> None:
    path = write(tmp_path / "out.h5", failed=FAILED)
    before = path.read_bytes()
    with begin(path, retry_failed=True) as writer:
        assert writer.pending() == []
        writer.amend(patch((0, 7), [1, 2], still=(2,)))
    assert path.read_bytes() == before
    with begin(path) as plain:  # an ordinary run has nothing to do, and keeps what was tried again
        assert plain.pending() == []
        plain.seal()
    assert path.read_bytes() == before
    with begin(path, retry_failed=True) as writer:
        assert (writer.rows, writer.failures) == (INPUTS - 4, 4)
        assert [list(some) for _, some in writer.failed()] == [[2], [8, 13], [22]]
        writer.amend(patch((7, 14), [8, 13]))
        writer.seal()
    assert content(path) == content(write(tmp_path / "straight.h5", failed=(2, 22)))


def test_a_file_whose_failures_fail_as_before_is_not_written_anew(tmp_path) -> None:
    path = write(tmp_path / "out.h5", failed=FAILED)
    before = (path.read_bytes(), path.stat().st_ino)
    retry(path, FAILED)
    assert (path.read_bytes(), path.stat().st_ino) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.h5"]


def test_a_failure_that_fails_otherwise_is_recorded(tmp_path) -> None:
    path = write(tmp_path / "out.h5", failed=(3,))
    with begin(path, retry_failed=True) as writer:
        [(limits, indices)] = writer.failed()
        tried = patch(limits, indices.tolist(), still=(3,))
        writer.amend(replace(tried, failures=[replace(tried.failures[0], stage="open", message="gone")]))
        writer.seal()
    with pool3.open_features(path) as file:
        assert [(failure.stage, failure.message) for failure in file.failures] == [("open", "gone")]


def test_nothing_failed_nothing_to_do(tmp_path) -> None:
    path = write(tmp_path / "out.h5")
    before = path.read_bytes()
    assert retry(path).rows == INPUTS
    assert path.read_bytes() == before


def test_each_index_says_what_computed_it(tmp_path) -> None:
    path = write(tmp_path / "out.h5", failed=FAILED)
    retry(path, (22,), device="GPU:0")
    with pool3.open_features(path) as file:
        devices = [(part["start"], part["stop"], part["device"]) for part in file.environments]
        assert devices == [
            (0, 1, "CPU"), (1, 3, "GPU:0"), (3, 8, "CPU"), (8, 9, "GPU:0"), (9, 13, "CPU"),
            (13, 14, "GPU:0"), (14, 23, "CPU"),
        ]  # fmt: skip
        assert file.provenance.device == "CPU"


def test_many_scattered_environments_fit(tmp_path) -> None:
    """More text than an attribute of HDF5 can hold."""
    path = write(tmp_path / "out.h5", failed=range(0, 1000, 2), inputs=1000, step=100)
    retry(path, device="GPU:0", inputs=1000, step=100)
    with pool3.open_features(path) as file:
        assert len(file.environments) == 1000


@pytest.mark.parametrize(
    "change", [{"precision": "bfloat16"}, {"source_manifest_sha256": "44" * 32}, {"inputs": 24}]
)
def test_other_settings_are_refused_and_nothing_is_touched(tmp_path, change) -> None:
    path = write(tmp_path / "out.h5", failed=FAILED)
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match=next(iter(change))):
        begin(path, retry_failed=True, **change)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.h5"]


def test_only_what_failed_can_be_amended(tmp_path) -> None:
    path = write(tmp_path / "out.h5", failed=FAILED)
    with begin(path, retry_failed=True) as writer:
        with pytest.raises(StoreError, match="image 3 did not fail"):
            writer.amend(patch((0, 7), [1, 3]))
        with pytest.raises(StoreError, match="not pending"):
            writer.commit(make_rows(0, 7))
        assert (writer.rows, writer.failures) == (INPUTS - 5, 5)


def test_a_retry_whose_file_is_gone_says_so(tmp_path) -> None:
    path = write(tmp_path / "out.h5", failed=FAILED)
    with begin(path, retry_failed=True) as writer:
        writer.amend(patch((0, 7), [1, 2]))
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(OutputExistsError, match=r"out\.h5 that is gone"):
        begin(path, retry_failed=True)
    path.write_bytes(content)
    assert retry(path).failures == 0


def test_a_file_of_damaged_ids_is_not_given_new_digests(tmp_path) -> None:
    path = write(tmp_path / "out.h5", failed=FAILED)
    with h5py.File(path, "r+") as file:
        file["ids"][5] = "forged"
    with pytest.raises(StoreError, match="ids do not have their recorded digest"):
        begin(path, retry_failed=True)


def test_the_recorded_settings_stay_those_of_the_first_run(tmp_path) -> None:
    path = write(tmp_path / "out.h5", failed=FAILED)
    retry(path, created="2027-01-01T00:00:00+00:00", batch_size=9)
    with pool3.open_features(path) as file:
        assert file.provenance == PROVENANCE
