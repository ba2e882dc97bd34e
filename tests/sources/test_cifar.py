import os
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from pool3.errors import SourceError, SourceNotFoundError
from pool3.sources import CifarSource, open_source
from tests.sources.builders import (
    CIFAR_NAMES,
    cifar_batch,
    cifar_files,
    cifar_rows,
    hostile_pickle,
    python2_pickle,
    write_tar,
    write_tree,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "cifar-10-batches-py", cifar_files())


def test_the_builder_writes_what_an_ordinary_unpickler_reads() -> None:
    batch = pickle.loads(python2_pickle(cifar_batch(3, 4)), encoding="bytes")
    np.testing.assert_array_equal(batch[b"data"], cifar_rows(3, 4))
    assert batch[b"labels"] == [4, 5, 6]


def test_folder(folder: Path) -> None:
    source = open_source(folder)
    assert isinstance(source, CifarSource)
    assert source.ids[0] == "data_batch_1/00000"
    assert source.ids[5:11] == [*(f"data_batch_2/{row:05d}" for row in range(5)), "test_batch/00000"]
    assert source.label_names == tuple(name.decode() for name in CIFAR_NAMES)
    assert source.labels.tolist() == [1, 2, 3, 4, 5, 2, 3, 4, 5, 6, 3, 4, 5, 6, 7]
    for start, seed in ((0, 1), (5, 2), (10, 3)):
        images = np.stack(list(source.read(start, start + 5)))  # type: ignore[arg-type]
        np.testing.assert_array_equal(images.transpose(0, 3, 1, 2).reshape(5, 3072), cifar_rows(5, seed))


def test_batches_are_chosen(folder: Path) -> None:
    assert CifarSource(folder, batches=("test_batch",)).ids[0] == "test_batch/00000"
    assert [id_[:6] for id_ in CifarSource(folder, batches=["test_batch", "data_batch_2"]).ids[4:6]] == [
        "test_b",
        "data_b",
    ]
    with pytest.raises(SourceNotFoundError, match="lacks data_batch_3"):
        CifarSource(folder, batches=("data_batch_1", "data_batch_3"))
    with pytest.raises(SourceError, match="no batch 'train'"):
        CifarSource(folder, batches=("train",))
    with pytest.raises(SourceError, match="is a string"):
        CifarSource(folder, batches="test_batch")


def test_one_batch_file_with_and_without_names_beside_it(folder: Path) -> None:
    (folder / "batches.meta").write_bytes(
        python2_pickle({b"label_names": [b"class %d" % n for n in range(10)]})
    )
    source = open_source(folder / "data_batch_2")
    assert source.ids == [f"data_batch_2/{row:05d}" for row in range(5)]
    assert source.label_names[3] == "class 3"
    (folder / "batches.meta").unlink()
    assert open_source(folder / "data_batch_2").label_names[3] == "cat"


def test_two_batch_files_in_a_row(folder: Path) -> None:
    source = open_source([folder / "test_batch", folder / "data_batch_1"])
    assert source.ids[4:6] == ["test_batch/00004", "data_batch_1/00000"]
    assert source.image_shape == (32, 32)


def test_archive_equals_folder(folder: Path, tmp_path: Path) -> None:
    members = [(f"cifar-10-batches-py/{name}", content) for name, content in reversed(cifar_files().items())]
    archived = open_source(write_tar(tmp_path / "c.tar.gz", members, "gz"))
    assert archived.manifest_sha256() == open_source(folder).manifest_sha256()
    for one, other in zip(archived.read(0, 15), open_source(folder).read(0, 15), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_batches_rewritten_with_python_3(tmp_path: Path, protocol: int) -> None:
    batch = {"data": cifar_rows(4, 9), "labels": [0, 1, 2, 3], "empty": [None, 1.5, ("x",)]}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch, protocol=protocol))
    source = open_source(tmp_path / "test_batch")
    images = np.stack(list(source.read(0, 4)))  # type: ignore[arg-type]
    np.testing.assert_array_equal(images.transpose(0, 3, 1, 2).reshape(4, 3072), cifar_rows(4, 9))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (hostile_pickle(os.system, "touch ran"), "posix.system"),
        (hostile_pickle(eval, "open('ran', 'w')"), "__builtin__.eval"),
        (hostile_pickle(os.mkdir, "ran"), "posix.mkdir"),
        (hostile_pickle(getattr, "x", "y"), "__builtin__.getattr"),
        (b"cos\nsystem\n(S'touch ran'\ntR.", "os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.", "os.system"),
        (b"(S'touch ran'\nios\nsystem\n.", "os.system"),
        (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
        (b"cnumpy.core.multiarray\nscalar\n.", "numpy.core.multiarray.scalar"),
        (b"cnumpy\nndarray.tofile\n.", "numpy.ndarray.tofile"),
        (b"\x80\x02c_codecs\nencode\n(U\x01xU\x04rot1tR.", "encoding other than latin1"),
        (b"\x80\x02cnumpy\ndtype\n}U\x01xK\x01sb.", "state for dtype"),
        (b"\x80\x02cnumpy\ndtype\nN}U\x04nameU\x01xs\x86b.", "state for dtype"),
        (b"\x80\x02]r\xff\xff\xff\x7f.", "table of 2147483647 entries"),
        (b"\x80\x02]p2147483647\n.", "table of 2147483647 entries"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\x00\x00.", "expected"),
        (b"\x80\x02P1\n.", "persistent"),
        (b"\x80\x02].", "no dictionary"),
        (b"", "pickle exhausted"),
        (b"\xff\xd8\xff not a pickle", "unknown"),
        (b"\x80\x02}", "exhausted"),
    ],
)  # fmt: skip
def test_hostile_pickles_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data_batch_1").write_bytes(content)
    with pytest.raises(SourceError, match=re.escape(named)):
        open_source("data_batch_1")
    assert not Path("ran").exists()


def with_array(state: bytes) -> bytes:
    """A batch of one row whose array has the given pickled state."""
    data = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R" + state + b"b"
    return b"\x80\x02}(U\x04data" + data + b"U\x06labels](K\x01eu."


DTYPE = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
ROW = b"T" + struct.pack("<i", 3072) + bytes(3072)
GOOD_SHAPE = b"K\x01M\x00\x0c\x86"


def test_the_array_state_that_is_good_here(tmp_path: Path) -> None:
    (tmp_path / "test_batch").write_bytes(with_array(b"(K\x01" + GOOD_SHAPE + DTYPE + b"\x89" + ROW + b"t"))
    assert len(open_source(tmp_path / "test_batch")) == 1


@pytest.mark.parametrize(
    "state",
    [
        b"(K\x01K\x02M\x00\x0c\x86" + DTYPE + b"\x89" + ROW + b"t",  # two rows, bytes for one
        b"(K\x01J\xff\xff\xff\xffM\x00\x0c\x86" + DTYPE + b"\x89" + ROW + b"t",  # minus one row
        b"(K\x01K\x01M\x00\x0b\x86" + DTYPE + b"\x89" + ROW + b"t",  # another width
        b"(K\x01M\x00\x0c\x85" + DTYPE + b"\x89" + ROW + b"t",  # one dimension
        b"(K\x01" + GOOD_SHAPE + DTYPE.replace(b"u1", b"O8") + b"\x89" + ROW + b"t",  # objects
        b"(K\x01" + GOOD_SHAPE + DTYPE.replace(b"u1", b"f4") + b"\x89" + ROW + b"t",
        b"(K\x01" + GOOD_SHAPE + DTYPE + b"\x88" + ROW + b"t",  # Fortran order
        b"(K\x01" + GOOD_SHAPE + DTYPE + b"\x89]t",  # a list in place of bytes
        b"(K\x01" + GOOD_SHAPE + b"U\x02u1\x89" + ROW + b"t",  # a string in place of a dtype
        b"N",
        b"}",
    ],
)
def test_arrays_of_another_make_are_refused(tmp_path: Path, state: bytes) -> None:
    (tmp_path / "test_batch").write_bytes(with_array(state))
    with pytest.raises(SourceError, match=r"no uint8 data of shape \(N, 3072\)"):
        open_source(tmp_path / "test_batch")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"labels": [1, 2]}, "3 images but 2 labels"),
        ({b"labels": [1, 2, 10]}, "label 10"),
        ({b"labels": [1, 2, -1]}, "label -1"),
        ({b"labels": b"abc"}, "no list of integer labels"),
        ({b"labels": [b"a", b"b", b"c"]}, "no list of integer labels"),
        ({b"data": b"x" * 3072 * 3}, "no uint8 data"),
        ({b"data": np.zeros((0, 3072), np.uint8)}, "no uint8 data"),
    ],
)
def test_batches_that_do_not_hold_together(tmp_path: Path, change: dict[bytes, object], message: str) -> None:
    (tmp_path / "test_batch").write_bytes(python2_pickle({**cifar_batch(3, 1), **change}))
    with pytest.raises(SourceError, match=message):
        open_source(tmp_path / "test_batch")


def test_truncated_batches(folder: Path) -> None:
    whole = (folder / "data_batch_1").read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        (folder / "data_batch_1").write_bytes(whole[:length])
        with pytest.raises(SourceError, match=r"data_batch_1 of .* is not a pickle of CIFAR-10"):
            open_source(folder)


def test_names_that_are_none(folder: Path) -> None:
    (folder / "batches.meta").write_bytes(python2_pickle({b"label_names": [1, 2]}))
    with pytest.raises(SourceError, match="no list of label_names"):
        open_source(folder)


def test_a_folder_with_names_alone(tmp_path: Path) -> None:
    write_tree(tmp_path, {"batches.meta": python2_pickle({b"label_names": CIFAR_NAMES})})
    with pytest.raises(SourceNotFoundError, match="lacks data_batch_1"):
        open_source(tmp_path)


def test_a_huge_batch_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "test_batch").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(SourceError, match="31 million"):
        open_source(tmp_path / "test_batch")
