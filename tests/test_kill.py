"""The command line, killed, interrupted, and on a full disk: what is committed stays, and the same command goes on."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pool3.store import progress
from tests.stored import stored

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]

IMAGES, BATCH, ROWS = 100, 8, 32
SETTINGS = ("--backbone", "efficientnet_lite0", "--devices", "cpu", "--batch-size", str(BATCH))

FORWARD = "pool3.runtime:Runner.run"
"""The first call is the one that compiles."""

ADD = "pool3.gathering:Gathered.add"
"""A batch was computed, and is about to be added to those of its range."""

COPY, FLUSH = "pool3.store.seal:_Sealer._copy_features", "pool3.store.seal:sync_file"
REMOVE = "pool3.store.folder:ShardFolder.remove"
WRITE = "pool3.store.folder:write_shard"


class CommandLine:
    """`tests.killing`, running; extracts the same images again and again."""

    def __init__(self, folder: Path) -> None:
        self.images = folder / "images.npy"
        rng = np.random.default_rng(0)
        np.save(self.images, rng.integers(0, 256, (IMAGES, 16, 16, 3), dtype=np.uint8))
        self._said = folder / "said"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.killing"],
            cwd=Path(__file__).parents[1],
            env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def arguments(self, output: Path) -> list[str]:
        return ["extract", str(self.images), "-o", str(output), *SETTINGS]

    def run(self, output: Path, *signals: tuple, **job: object) -> tuple[int, str]:
        """Run once; give the exit status and what it said."""
        names = ("function", "call", "number", "delay", "pause")
        job |= {
            "arguments": self.arguments(output),
            "output": str(self._said),
            "rows": ROWS,
            "signals": [dict(zip(names, one, strict=False)) for one in signals],
        }
        print(json.dumps(job), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline()), self._said.read_text()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="module")
def command_line(tmp_path_factory) -> Iterator[CommandLine]:
    command_line = CommandLine(tmp_path_factory.mktemp("command_line"))
    yield command_line
    command_line.close()


@pytest.fixture(scope="module")
def straight(command_line, tmp_path_factory) -> dict:
    """What an uninterrupted run stores, of one range."""
    output = tmp_path_factory.mktemp("straight") / "out.h5"
    command = [sys.executable, "-m", "pool3.cli", *command_line.arguments(output)]
    subprocess.run(command, check=True, capture_output=True)
    return stored(output)


def shards(output: Path) -> list[str]:
    folder = output.with_name("out.h5.shards")
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def alone(output: Path) -> bool:
    """Whether nothing lies beside the output."""
    return [path.name for path in output.parent.iterdir()] == ["out.h5"]


def test_killed_again_and_again(command_line, straight, tmp_path) -> None:
    """One output: while TensorFlow loads, while the network compiles, at random times, and throughout the seal."""
    output = tmp_path / "out.h5"
    command = [sys.executable, "-m", "pool3.cli", *command_line.arguments(output)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1.5)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not list(tmp_path.iterdir())
    rng = random.Random(0)
    kills = [
        (FORWARD, 1, signal.SIGKILL, 0.3),
        *((ADD, rng.randint(1, 4), signal.SIGKILL, rng.uniform(0, 0.1), 1) for _ in range(2)),
        # A range was just handed to the thread that commits.
        *((ADD, 5, signal.SIGKILL, rng.uniform(0, 0.02), 1) for _ in range(2)),
        (WRITE, 2, signal.SIGKILL),
        (COPY, 2, signal.SIGKILL),
        (FLUSH, 1, signal.SIGKILL),
        (REMOVE, 1, signal.SIGKILL),
    ]
    done = 0
    for kill in kills:
        status, said = command_line.run(output, kill)
        assert status == -signal.SIGKILL, said
        before, (done, _) = done, progress(output)
        assert done >= before
        assert done % ROWS in (0, IMAGES % ROWS)
        assert output.exists() is (kill[0] == REMOVE)
    assert done == IMAGES
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "complete already" in done.stderr
    assert alone(output)
    assert stored(output) == straight


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_in_the_middle_of_a_range(command_line, straight, tmp_path, number) -> None:
    """The batches that were computed are committed, also where a second Ctrl-C comes meanwhile."""
    output = tmp_path / "out.h5"
    done = 0
    for batches in (2, 1):
        impatient = (WRITE, 1, signal.SIGINT)
        status, said = command_line.run(output, (ADD, batches + 1, number), impatient)
        assert status == 130, said
        done += batches * BATCH
        assert progress(output) == (done, IMAGES)
        assert f"{done} of {IMAGES} images are committed for {output}" in said
        assert "the same command goes on" in said
        assert "Traceback" not in said
    assert shards(output) == [
        "000000000000-000000000016.shard",
        "000000000016-000000000024.shard",
        "manifest.json",
    ]
    status, said = command_line.run(output)
    assert status == 0, said
    assert f"went on after {done} images" in said
    assert alone(output)
    assert stored(output) == straight


def test_interrupted_while_the_last_range_is_committed(command_line, straight, tmp_path) -> None:
    """The thread that commits is waited for: what the command says is what there is."""
    output = tmp_path / "out.h5"
    status, said = command_line.run(output, (WRITE, 4, signal.SIGTERM, 0, 0.5))
    assert status == 130, said
    assert f"{IMAGES} of {IMAGES} images are committed" in said
    status, said = command_line.run(output)
    assert status == 0, said
    assert stored(output) == straight


def test_interrupted_while_it_seals(command_line, straight, tmp_path) -> None:
    output = tmp_path / "out.h5"
    for function in (COPY, FLUSH):
        status, said = command_line.run(output, (function, 1, signal.SIGTERM))
        assert status == 130, said
        assert f"{IMAGES} of {IMAGES} images are committed" in said
        assert "Traceback" not in said
        assert [path.name for path in tmp_path.iterdir()] == ["out.h5.shards"]
    status, said = command_line.run(output)
    assert status == 0, said
    assert "complete already" in said
    assert stored(output) == straight


@pytest.mark.parametrize("limit", [100_000, 300_000], ids=["shard", "seal"])
def test_no_room_for_a_file(command_line, straight, tmp_path, limit) -> None:
    """A range takes about 160 kB here, the sealed file 520 kB."""
    output = tmp_path / "out.h5"
    status, said = command_line.run(output, file_size=limit)
    assert status == 1, said
    assert re.search(
        r"^pool3: .*out\.h5 cannot be written \(File too large\); mend this and run again", said, re.M
    )
    assert "Traceback" not in said
    assert progress(output)[0] == (0 if limit == 100_000 else IMAGES)
    status, said = command_line.run(output)
    assert status == 0, said
    assert alone(output)
    assert stored(output) == straight


def test_too_little_room_is_said_before_anything_is_computed(command_line, straight, tmp_path) -> None:
    output = tmp_path / "out.h5"
    never = (FORWARD, 1, signal.SIGKILL)
    status, said = command_line.run(output, never, free=500_000)
    assert status == 1, said
    assert "out.h5 needs about 1.0 MiB" in said
    assert f"{tmp_path} has 488.3 KiB left" in said
    assert not list(tmp_path.iterdir())
