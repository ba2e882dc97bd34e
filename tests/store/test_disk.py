"""Disks that are full, too small, read-only or without locks: a clear error, and nothing that was committed is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from pool3.errors import StoreError
from pool3.store import progress
from tests.store.examples import INPUTS, begin, make_rows
from tests.stored import stored

ROOT = Path(__file__).parents[2]
WIDTH = 1000
FAILED = range(7)
"""The first range has no rows, so its shard is small; the others are 28 kB, and the sealed file 90 kB."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")


def write(path: Path) -> Path:
    """Go on to the end."""
    with begin(path, width=WIDTH) as writer:
        for limits in writer.pending():
            writer.commit(make_rows(*limits, width=WIDTH, failed=FAILED))
        return writer.seal()


@pytest.fixture
def straight(tmp_path) -> dict:
    """What a run with all it needs stores."""
    return stored(write(tmp_path / "straight" / "out.h5"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def program(code: str, *arguments: object, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


LIMITED = """
import resource, sys
from pathlib import Path
from tests.store.test_disk import write
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
write(Path(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("limit", "committed"),
    # In a shard; in what HDF5 writes only at the end, to the very last of it.
    [(20_000, 7), (40_000, INPUTS), (80_000, INPUTS), (90_000, INPUTS)],
)
def test_a_file_may_not_grow(tmp_path, straight, limit, committed) -> None:
    """``ulimit -f``: the error is the process's last word. (HDF5 would have it crash when it ends.)"""
    folder = tmp_path / "limited"
    done = program(LIMITED, folder / "out.h5", limit)
    assert done.returncode == 1, done.returncode
    last = done.stderr.splitlines()[-1]
    assert last.startswith("pool3.errors.StoreError: ")
    assert "out.h5 cannot be written (File too large); mend this and run again" in last
    assert "ignored" not in done.stderr
    assert progress(folder / "out.h5") == (committed, INPUTS)
    assert names(folder) == ["out.h5.shards"]
    assert all(name.endswith((".shard", ".json")) for name in names(folder / "out.h5.shards"))
    assert stored(write(folder / "out.h5")) == straight


RAISED = """
import resource, sys
from pathlib import Path
from pool3.errors import StoreError
from tests.store.examples import begin, make_rows
from tests.store.test_disk import FAILED, WIDTH
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
with begin(Path(sys.argv[1]), width=WIDTH) as writer:
    for limits in writer.pending():
        writer.commit(make_rows(*limits, width=WIDTH, failed=FAILED))
    for limit in (20_000, 40_000, 80_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            writer.seal()
        except StoreError as error:
            print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    writer.seal()
"""


def test_a_process_that_could_not_seal_can_later(tmp_path, straight) -> None:
    """On a disk that gives the place of the file before to the next one."""
    done = program(RAISED, tmp_path / "out.h5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("cannot be written (File too large)") == 3
    assert stored(tmp_path / "out.h5") == straight


FULL = """
import json, shutil, sys
from pathlib import Path
from pool3.errors import StoreError
from tests.store.examples import begin, make_rows
from tests.store.test_disk import FAILED, WIDTH, names, write

path, kept = Path(sys.argv[1]) / "out.h5", Path(sys.argv[2])
ballast = path.with_name("ballast")
said = []

def full(work, *arguments, left):
    with ballast.open("wb") as file:
        file.write(bytes(shutil.disk_usage(path.parent).free - left))
    try:
        work(*arguments)
        said.append(None)
    except StoreError as error:
        said.append([str(error), names(path.parent)])
    ballast.unlink()

full(lambda: begin(path, width=WIDTH), left=40_000)
with begin(path, width=WIDTH) as writer:
    first, *rest = [make_rows(*limits, width=WIDTH, failed=FAILED) for limits in writer.pending()]
    writer.commit(first)
    full(writer.commit, rest[0], left=20_000)
    for rows in rest:
        writer.commit(rows)
    for left in (0, 10_000, 40_000, 80_000):
        full(writer.seal, left=left)
    writer.seal()
kept.write_bytes(path.read_bytes())
print(json.dumps(said))
"""


@pytest.fixture
def small_disk(tmp_path) -> tuple[str, ...]:
    """What a command has to begin with so that it finds a disk of 400 kB at ``tmp_path/small``."""
    (tmp_path / "small").mkdir()
    mount = f'mount -t tmpfs -o size=400k none {tmp_path / "small"} && exec "$@"'
    prefix = ("unshare", "--mount", *(["--map-root-user"] if os.geteuid() else []), "sh", "-c", mount, "sh")
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    return prefix


def test_a_full_disk(tmp_path, straight, small_disk) -> None:
    """A real one: each error is the disk's own, costs nothing, and the same process goes on once there is room."""
    done = program(FULL, tmp_path / "small", tmp_path / "kept.h5", prefix=small_disk)
    assert done.returncode == 0, done.stderr
    before, *said = json.loads(done.stdout)
    assert "needs about" in before[0]
    assert before[1] == ["ballast"]
    assert len(said) == 5
    for message, left in said:
        assert "out.h5 cannot be written (No space left on device); mend this and run again" in message
        assert left == ["ballast", "out.h5.shards"]
    assert "ignored" not in done.stderr
    assert stored(tmp_path / "kept.h5") == straight


@pytest.mark.parametrize("state", ["new", "sealed", "overwrite", "begun"])
def test_too_little_room_is_said_before_the_first_row(tmp_path, monkeypatch, straight, state) -> None:
    path = tmp_path / "small" / "out.h5"
    if state in ("sealed", "overwrite"):
        write(path)
    else:
        path.parent.mkdir()
    if state == "begun":
        begin(path, width=WIDTH).commit(make_rows(0, 7, width=WIDTH))
    before = {name: path.read_bytes() for name in names(path.parent) if (path.parent / name).is_file()}
    there = names(path.parent)
    needed = (INPUTS + (16 if state == "begun" else INPUTS)) * (4 * WIDTH + 128)
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr("pool3.store.disk.shutil.disk_usage", lambda _: usage(1 << 40, 0, needed - 1))
        if state == "sealed":
            write(path)  # nothing to write, so no room is needed
        else:
            with pytest.raises(StoreError) as caught:
                begin(path, width=WIDTH, overwrite=state == "overwrite")
            size = f"{needed / 1024:.1f} KiB"
            assert f"out.h5 needs about {size} while it is written" in str(caught.value)
            assert f"{path.parent} has {size} left" in str(caught.value)
        assert names(path.parent) == there
        patch.setattr("pool3.store.disk.shutil.disk_usage", lambda _: usage(1 << 40, 0, needed))
        begin(path, width=WIDTH, overwrite=state == "overwrite").close()
    assert {name: (path.parent / name).read_bytes() for name in before} == before


READ_ONLY = """
import os, sys
from pathlib import Path
from tests.store.test_disk import write
from pool3.errors import StoreError
from pool3.store import open_features
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    write(Path("out.h5"))
    print("written")
except StoreError as error:
    print(error)
"""
"""Nobody's own paths end at a folder of root's: the folder is entered before the rights are given up."""


@pytest.mark.parametrize("state", ["new", "sealed", "begun"])
def test_a_read_only_folder(tmp_path, straight, state) -> None:
    folder = tmp_path / "mine"
    path = folder / "out.h5"
    folder.mkdir()
    if state == "sealed":
        write(path)
    if state == "begun":
        with begin(path, width=WIDTH) as writer:
            writer.commit(make_rows(0, 7, width=WIDTH, failed=FAILED))
    before = {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    kept = [folder, *(p for p in folder.iterdir() if p.is_dir())]
    for place in kept:
        place.chmod(0o555)
    done = program(READ_ONLY, folder)
    for place in kept:
        place.chmod(0o755)
    assert done.returncode == 0, done.stderr
    if state == "sealed":
        assert done.stdout == "written\n"  # it was, so nothing had to be
    else:
        assert done.stdout.startswith("out.h5 cannot be written (Permission denied); mend this and run again")
    assert {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert stored(write(path)) == straight


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_system_without_locks(tmp_path, monkeypatch, number, overwrite) -> None:
    path = tmp_path / "out.h5"
    if overwrite:
        write(path)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refused)
    with pytest.raises(StoreError, match="has no locks") as caught:
        begin(path, overwrite=overwrite)
    assert os.strerror(number) in str(caught.value)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
