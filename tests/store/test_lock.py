"""Two writers on one output: the second gets a clear error at once; a dead one holds nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from pool3.errors import OutputBusyError
from pool3.store import FeatureWriter
from pool3.store.lock import FolderLock
from tests.store.examples import PROVENANCE

ROOT = Path(__file__).parents[2]
SETTINGS = {"inputs": 9, "width": 4, "label_names": (), "rows_per_shard": 3}
HOLD = """
import sys, time
from pathlib import Path
from pool3.store import FeatureWriter
from tests.store.examples import PROVENANCE
writer = FeatureWriter.open(Path(sys.argv[1]), PROVENANCE, inputs=9, width=4, label_names=(), rows_per_shard=3)
print("held", flush=True)
time.sleep(60)
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot lock a folder")


def begin(path: Path, *, overwrite: bool = False) -> FeatureWriter:
    return FeatureWriter.open(path, PROVENANCE, **SETTINGS, overwrite=overwrite)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_writer_is_refused_until_the_first_is_dead(tmp_path, overwrite) -> None:
    path = tmp_path / "out.h5"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        manifest = (tmp_path / "out.h5.shards" / "manifest.json").read_bytes()
        with pytest.raises(OutputBusyError, match=r"another process is writing out\.h5"):
            begin(path, overwrite=overwrite)
        assert (tmp_path / "out.h5.shards" / "manifest.json").read_bytes() == manifest
    finally:
        other.kill()
        other.wait()
    with begin(path, overwrite=overwrite) as writer:
        assert len(writer.pending()) == 3


def test_closing_lets_the_next_one_in(tmp_path) -> None:
    first = begin(tmp_path / "out.h5")
    with pytest.raises(OutputBusyError):
        begin(tmp_path / "out.h5")
    first.close()
    begin(tmp_path / "out.h5").close()


def test_a_folder_that_its_owner_removed_is_locked_anew(tmp_path, monkeypatch) -> None:
    """Between opening and locking, the owner before seals and removes the folder: its lock would guard nothing."""
    folder = tmp_path / "x.shards"
    import fcntl

    real, calls = fcntl.flock, []

    def removed_first(descriptor: int, how: int) -> None:
        if not calls:
            folder.rmdir()
        calls.append(descriptor)
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", removed_first)
    lock = FolderLock.acquire(folder)
    assert len(calls) == 2
    assert folder.is_dir()
    with pytest.raises(OutputBusyError):
        FolderLock.acquire(folder)
    lock.release()
    FolderLock.acquire(folder).release()
