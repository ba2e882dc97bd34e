"""What the rows of a file took, whatever happened on the way."""

from __future__ import annotations

import json
import subprocess
import sys

import h5py
import pytest

from pool3.errors import StoreError
from pool3.store import Timing, info, merge_features, open_features
from pool3.store.verify import verify_file
from tests.store.examples import INPUTS, begin, make_rows, write
from tests.store.make_fixture import fixture
from tests.store.tampering import change
from tests.store.test_retry import patch
from tests.stored import stored

SPENT = Timing(0, 2.0, {"forward": 1.5, "wait": 0.5})


def timed(path, *, failed=(), ranges: int | None = None, **settings: object):
    """Commit some ranges, or all and seal; each commit, and the seal, took `SPENT`."""
    with begin(path, **settings) as writer:
        writer.spent = lambda: SPENT
        for limits in writer.pending()[:ranges]:
            writer.commit(make_rows(*limits, failed=failed))
        return path if ranges else writer.seal()


def timing(path) -> Timing:
    with open_features(path) as file:
        return file.timing


def times(count: int, images: int) -> Timing:
    return Timing(images, 2.0 * count, {"forward": 1.5 * count, "wait": 0.5 * count})


def test_a_file_says_what_its_rows_took(tmp_path) -> None:
    path = timed(tmp_path / "out.h5")
    assert timing(path) == times(4 + 1, INPUTS)  # four ranges and the seal
    assert timing(path).images_per_second == INPUTS / 10
    assert all(check.ok for check in verify_file(path))
    assert stored(path) == stored(write(tmp_path / "plain.h5"))


def test_an_interrupted_run_adds_up(tmp_path) -> None:
    path = timed(tmp_path / "out.h5", ranges=1)
    assert info(path)["timing"] == times(1, 7).to_dict() | {"images_per_second": 3.5}
    timed(path)
    assert timing(path) == times(4 + 1, INPUTS)


def test_what_is_tried_again_is_added(tmp_path) -> None:
    """Before the seal, and after it."""
    failed = (1, 2, 8)
    for path, before in (
        (timed(tmp_path / "sealed.h5", failed=failed), 5),
        (timed(tmp_path / "open.h5", failed=failed, ranges=4), 4),
    ):
        with begin(path, retry_failed=True) as writer:
            writer.spent = lambda: SPENT
            for limits, indices in writer.failed():
                writer.amend(patch(limits, indices.tolist(), still=(2,)))
            writer.seal()
        assert timing(path) == times(before + 2 + 1, INPUTS + 3)
        assert all(check.ok for check in verify_file(path))


def test_merged_files_add_up_as_far_as_they_know(tmp_path) -> None:
    parts = [timed(tmp_path / "a.h5"), write(tmp_path / "b.h5"), timed(tmp_path / "c.h5")]
    merged = merge_features(parts, tmp_path / "all.h5", prefix_ids=True).output
    assert timing(merged) == times(10, 2 * INPUTS)
    assert info(merged)["inputs"] == 3 * INPUTS


@pytest.mark.parametrize("path", [None, fixture(1)])
def test_files_without_it_are_what_they_were(tmp_path, path) -> None:
    path = path or write(tmp_path / "out.h5")
    assert not timing(path)
    assert timing(path).images_per_second is None
    assert info(path)["timing"] is None
    with h5py.File(path) as file:
        assert "timing" not in file.attrs
    assert all(check.ok for check in verify_file(path))


def test_shards_of_the_version_before_are_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Timing, "to_dict", lambda _: None)
    real = json.dumps
    monkeypatch.setattr(
        "pool3.store.shard.json.dumps",
        lambda value, **named: real(
            {k: v for k, v in value.items() if k != "timing"} if isinstance(value, dict) else value, **named
        ),
    )
    path = timed(tmp_path / "out.h5", ranges=1)
    monkeypatch.undo()
    timed(path)
    assert timing(path) == times(3 + 1, INPUTS - 7)


@pytest.mark.parametrize(
    "value",
    ["", "[]", "{}", '{"images": 1e999, "seconds": 1, "stages": {}}', '{"images": 1, "seconds": NaN}'],
)
def test_a_damaged_one_is_an_error_that_says_so(tmp_path, value) -> None:
    path = timed(tmp_path / "out.h5")
    change(path, lambda file: file.attrs.__setitem__("timing", value))
    with pytest.raises(StoreError, match="attributes cannot be read"):
        open_features(path)
    said = {check.name: check for check in verify_file(path)}["attributes"]
    assert not said.ok
    assert "timing is" in said.detail


def test_info_tells_people(tmp_path) -> None:
    path = timed(tmp_path / "out.h5")
    command = [sys.executable, "-m", "pool3.cli", "info", str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    told = [line.split(maxsplit=1) for line in lines]
    assert ["time", "10.0 s for 23 images, 2.3 images/s once started"] in told
    assert any(
        line.startswith("of which ") and line.endswith("  forward 7.5 s, wait 2.5 s") for line in lines
    )
