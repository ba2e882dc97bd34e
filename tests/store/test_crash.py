"""kill -9, or the power gone, at every single moment of the store's work: nothing is lost, nothing is done twice."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pool3.store import open_features, progress
from pool3.store.disk import TEMPORARY
from tests.store.dying import STEP, STILL, WIDTH, Limits, opened, rows
from tests.store.examples import INPUTS, make_rows
from tests.stored import stored

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs fork and /proc"),
]

KINDS = {
    # a shard: begun, half written, flushed, renamed
    "after open temporary shard",
    "before start_writing",
    "after fsync temporary shard",
    "before rename temporary shard",
    "after rename temporary shard",
    "after fsync folder of shards",
    # the seal: before, within, flushed, renamed, cleared up
    "before create output",
    "after create output",
    "before write /features",
    "after write /failures",
    "before write sealed",
    "after close output",
    "after fsync partial output",
    "before rename partial output",
    "after rename partial output",
    "before unlink shard",
    "after unlink shard",
    "before unlink manifest",
    "after rmdir folder of shards",
}
"""What must be among the moments of every scenario."""


class Run(NamedTuple):
    """What became of a child, and what it noted."""

    died: bool
    moments: list[str]
    begun: list[Limits]
    committed: list[Limits]


class Program:
    """`tests.store.dying`, running."""

    def __init__(self, folder: Path) -> None:
        self._notes = folder / "notes"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.dying"],
            cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, work: str, path: Path, *, moment: int = 0, power: bool = False) -> Run:
        job = {"work": work, "path": str(path), "notes": str(self._notes), "moment": moment, "power": power}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        status = int(self._process.stdout.readline())
        assert status in (0, -9), "the child failed; its traceback is on stderr"
        noted: dict[str, list] = {"moment": [], "begun": [], "committed": []}
        for line in self._notes.read_text().splitlines():
            what, value = json.loads(line)
            noted[what].append(tuple(value) if isinstance(value, list) else value)
        return Run(status != 0, *noted.values())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Path]:
    """In memory where the system has such a place: a thousand runs wait for no disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder).resolve()


@pytest.fixture(scope="module")
def program(place) -> Iterator[Program]:
    program = Program(place)
    yield program
    program.close()


@pytest.fixture
def folder(place) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def nothing(path: Path) -> None:
    path.parent.mkdir()


def an_old_file_and_stale_shards(path: Path) -> None:
    """A sealed file, and the beginning of another that was to replace it."""
    with opened(path, precision="float64") as writer:
        writer.commit(rows(*writer.pending()[0]))
    old = path.with_name("old.h5")
    _write(old, make_rows, seal=True)
    old.rename(path)


def a_file_with_failures(path: Path) -> None:
    _write(path, rows, seal=True)


def shards_with_failures(path: Path) -> None:
    """All but the last range, which is still to come."""
    _write(path, rows, seal=False)


def _write(path: Path, rows_of: Callable[..., object], *, seal: bool) -> None:
    with opened(path) as writer:
        pending = writer.pending()
        for limits in pending if seal else pending[:-1]:
            writer.commit(rows_of(*limits, width=WIDTH) if rows_of is make_rows else rows_of(*limits))
        if seal:
            writer.seal()


SCENARIOS = {
    "write": nothing,
    "overwrite": an_old_file_and_stale_shards,
    "retry": a_file_with_failures,
    "retry unsealed": shards_with_failures,
}


class Scenario:
    """One kind of work, begun again and again in a folder of its own, and what must come of it."""

    def __init__(self, name: str, folder: Path, program: Program) -> None:
        self.work = name.split()[0]
        self._folder, self._program = folder, program
        SCENARIOS[name](folder / "begin" / "out.h5")
        straight = self._prepared("straight")
        self.old = straight.read_bytes() if straight.exists() else None
        self.straight = self._run(straight)
        assert not self.straight.died
        assert names(straight.parent) == ["out.h5"]
        self.expected = stored(straight)

    def killed_at(self, *moments: int, power: bool = False) -> list[Run]:
        """Kill one run after the other on the same output, let the last one finish, and check every step."""
        path = self._prepared("-".join(map(str, moments)))
        runs = [self._run(path, moment=moments[0], power=power)]
        committed = set(runs[0].committed)
        for moment in (*moments[1:], 0):
            self._check_left(path, committed)
            runs.append(self._run(path, moment=moment, power=power))
            # What was committed is not computed again, but for what failed again.
            assert not {limits for limits in committed if not _still(limits)} & set(runs[-1].begun)
            committed |= set(runs[-1].committed)
        assert not runs[-1].died
        assert names(path.parent) == ["out.h5"]
        assert stored(path) == self.expected
        shutil.rmtree(path.parent)
        return runs

    def _prepared(self, name: str) -> Path:
        shutil.copytree(self._folder / "begin", self._folder / name)
        return self._folder / name / "out.h5"

    def _run(self, path: Path, *, moment: int = 0, power: bool = False) -> Run:
        return self._program.run(self.work, path, moment=moment, power=power)

    def _check_left(self, path: Path, committed: set[Limits]) -> None:
        """What a dead process leaves: the old file or the new one, whole; and all that was committed."""
        sealed = False
        if path.exists():
            open_features(path).close()
            sealed = path.read_bytes() != self.old
            assert not sealed or stored(path) == self.expected
        else:
            assert self.old is None
        left = {
            (int(match[1]), int(match[2]))
            for shard in path.parent.glob("out.h5.shards/*.shard")
            if (match := re.fullmatch(r"0*(\d+)-0*(\d+)\.shard", shard.name))
        }
        assert sealed or committed <= left
        assert progress(path)[0] >= sum(stop - start for start, stop in committed)


def _still(limits: Limits) -> bool:
    return any(limits[0] <= index < limits[1] for index in STILL)


@pytest.mark.parametrize("power", [False, True], ids=["kill", "power"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_once_at_every_moment(folder, program, name, power) -> None:
    scenario = Scenario(name, folder, program)
    moments = scenario.straight.moments
    assert set(moments) >= KINDS
    # The power fails at every third: those are for what was not flushed, the kills for the rest.
    for number, moment in list(enumerate(moments, 1))[:: 3 if power else 1]:
        first, resumed = scenario.killed_at(number, power=power)
        assert (first.died, first.moments[-1]) == (True, moment)
        # At most the range that was under way when it died is computed twice.
        begun = [limits for limits in first.begun + resumed.begun if name == "write" or not _still(limits)]
        assert len(begun) <= len(set(begun)) + 1
        if name == "write":
            assert len(set(begun)) == -(-INPUTS // STEP)


@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_twice(folder, program, name) -> None:
    """The run that goes on is killed too, at a seeded sample of pairs of moments."""
    scenario = Scenario(name, folder, program)
    rng = random.Random(0)
    count = len(scenario.straight.moments)
    deaths = 0
    for _ in range(20):
        _, second, _ = scenario.killed_at(rng.randint(1, count), rng.randint(1, count // 3))
        deaths += second.died
    assert deaths >= 10


def test_a_death_leaves_a_shard_half_written(folder, program) -> None:
    """The moments between the pieces of a shard are real ones: some of its bytes are in the file, and some not."""
    (folder / "straight").mkdir()
    moments = program.run("write", folder / "straight" / "out.h5").moments
    first = moments.index("after rename temporary shard")
    moment = moments.index("before start_writing", first) + 1
    assert program.run("write", folder / "out.h5", moment=moment).died
    shards = folder / "out.h5.shards"
    half = f"000000000006-000000000012.shard{TEMPORARY}"
    assert names(shards) == [
        "000000000000-000000000006.shard",
        half,
        "manifest.json",
    ]
    assert 0 < (shards / half).stat().st_size < 4 * WIDTH * 4
