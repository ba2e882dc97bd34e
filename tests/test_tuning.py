"""What is quickest is measured, remembered, and taken by runs that leave the batch size to pool3."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from pool3 import tuning
from pool3.backbones import EFFICIENTNET_LITE0, INCEPTION_V3
from pool3.devices import Placement
from pool3.errors import DeviceMemoryError, StoreError
from pool3.runtime import Runner
from pool3.tuning import Shape

CPU = Placement(("/CPU:0",), "CPU (one)")


def pool3(*arguments: object, cache) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pool3.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"POOL3_CACHE": str(cache)},
    )


def test_a_run_takes_what_was_measured(tmp_path) -> None:
    network = ("--backbone", "efficientnet_lite0", "--precision", "float32", "--devices", "cpu")
    done = pool3("tune", *network, "--batch-sizes", "3,2", "--rounds", 1, "--json", cache=tmp_path)
    assert done.returncode == 0, done.stderr
    best = json.loads(done.stdout)
    assert best["batch_size"] in (2, 3)
    assert {(m["batch_size"], m["streams"]) for m in best["measured"]} == {
        (size, streams) for size in (2, 3) for streams in tuning.stream_candidates()
    }
    np.save(tmp_path / "images.npy", np.zeros((9, 8, 8, 3), np.uint8))
    output = ("-o", tmp_path / "out.h5", "--json")
    done = pool3("extract", tmp_path / "images.npy", *network, *output, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["batch_size"] == best["batch_size"]


@pytest.mark.parametrize("sizes", ["0", "auto", "8,x", "-1"])
def test_candidates_that_cannot_be_read(tmp_path, sizes) -> None:
    done = pool3("tune", "--batch-sizes", sizes, cache=tmp_path)
    assert done.returncode == 1
    assert "--batch-sizes takes" in done.stderr


def test_of_equals_the_smallest_is_taken() -> None:
    rates = {Shape(32, 2): [100.0, 101, 99], Shape(8, 2): [98.5, 99, 98], Shape(4, 3): [97, 97.5, 200]}
    assert tuning.choose(rates) == Shape(8, 2)


def test_what_does_not_fit_is_left_out(monkeypatch) -> None:
    compile_ = Runner.compile

    def limited(self) -> None:
        if self._batch_size > 2:
            raise DeviceMemoryError("full")
        compile_(self)

    monkeypatch.setattr(Runner, "compile", limited)
    settings = {"xla": False, "rounds": 1}
    found = tuning.tune(EFFICIENTNET_LITE0, CPU, "float32", batch_sizes=(1, 2, 4, 8), **settings)
    assert {shape.batch_size for shape in found.rates} == {1, 2}
    with pytest.raises(DeviceMemoryError, match="full"):
        tuning.tune(EFFICIENTNET_LITE0, CPU, "float32", batch_sizes=(4, 8), **settings)


def test_choices_are_kept_apart_and_a_damaged_cache_is_none(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("POOL3_CACHE", str(tmp_path / "cache"))
    assert tuning.remembered(INCEPTION_V3, CPU, "float32", xla=False) is None
    path = tuning.remember(INCEPTION_V3, CPU, "float32", Shape(4, 1), xla=False)
    tuning.remember(INCEPTION_V3, CPU, "bfloat16", Shape(16, 3), xla=False)
    assert tuning.remembered(INCEPTION_V3, CPU, "float32", xla=False) == Shape(4, 1)
    assert tuning.remembered(INCEPTION_V3, CPU, "bfloat16", xla=False) == Shape(16, 3)
    assert tuning.remembered(INCEPTION_V3, CPU, "float32", xla=True) is None
    assert tuning.remembered(EFFICIENTNET_LITE0, CPU, "float32", xla=False) is None
    other = Placement(("/CPU:0",), "CPU (two)")
    assert tuning.remembered(INCEPTION_V3, other, "float32", xla=False) is None
    for damaged in ("", "[]", path.read_text().replace("4", '"x"'), path.read_text().replace("4", "0")):
        path.write_text(damaged)
        assert tuning.remembered(INCEPTION_V3, CPU, "float32", xla=False) is None
    tuning.remember(INCEPTION_V3, CPU, "float32", Shape(2, 2), xla=False)
    assert tuning.remembered(INCEPTION_V3, CPU, "float32", xla=False) == Shape(2, 2)


def test_a_cache_that_cannot_be_written_is_said(monkeypatch, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("POOL3_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StoreError, match="cannot be written"):
        tuning.remember(INCEPTION_V3, CPU, "float32", Shape(2, 2), xla=False)
