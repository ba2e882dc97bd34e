from pathlib import Path

import numpy as np
import pytest

from pool3.errors import SourceError, SpecError
from pool3.sources import ArraySource, ConcatSource, FileSource, LimitSource, open_source
from tests.sources.builders import write_tree, write_zip

PIXELS = np.zeros((3, 4, 5, 3), np.uint8)


def test_prefixes_tell_the_sources_apart(tmp_path: Path) -> None:
    write_tree(tmp_path, {"train/cat/1.png": b"a", "test/dog/1.png": b"b", "test/cat/1.png": b"c"})
    write_zip(tmp_path / "more.zip", [("bee/1.png", b"d"), ("cat/1.png", b"e")])
    source = open_source([tmp_path / "train", tmp_path / "test", tmp_path / "more.zip"])
    assert source.ids == [
        "train/cat/1.png",
        "test/cat/1.png",
        "test/dog/1.png",
        "more.zip/bee/1.png",
        "more.zip/cat/1.png",
    ]
    assert source.label_names == ("cat", "dog", "bee")
    assert source.labels.tolist() == [0, 0, 1, 2, 0]
    assert list(source.read(0, 5)) == [b"a", b"c", b"b", b"d", b"e"]
    assert list(source.read(1, 4)) == [b"c", b"b", b"d"]
    assert source.location == tmp_path
    assert source.description == f"{tmp_path}/train, {tmp_path}/test, {tmp_path}/more.zip"


def test_two_globs_with_one_root_need_no_prefix(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a/1.png": b"", "b/2.jpg": b""})
    assert open_source([f"{tmp_path}/*/*.jpg", f"{tmp_path}/*/*.png"]).ids == ["b/2.jpg", "a/1.png"]


def test_the_same_image_twice_is_an_error(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a/b/1.png": b"", "c/2.png": b""})
    cases: tuple[list[str | Path], ...] = (
        [tmp_path, tmp_path],
        [tmp_path, tmp_path / "a"],
        [tmp_path / "a", f"{tmp_path}/*/b/*"],
    )
    for sources in cases:
        with pytest.raises(SourceError, match=r"image a?/?b/1\.png appears twice"):
            open_source(sources)


def test_runs_of_files_among_folders(tmp_path: Path) -> None:
    write_tree(tmp_path, {"x/1.png": b"1", "y/2.png": b"2", "folder/cat/3.png": b"3", "z/4.png": b"4"})
    source = open_source(
        [tmp_path / "x/1.png", tmp_path / "y/2.png", tmp_path / "folder", str(tmp_path / "z/4.png")]
    )
    assert source.ids == ["x/1.png", "y/2.png", "folder/cat/3.png", "z/4.png"]
    assert list(source.read(0, 4)) == [b"1", b"2", b"3", b"4"]
    assert source.labels.tolist() == [-1, -1, 0, -1]


def test_arrays_are_told_apart_by_their_place(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS)
    np.save(tmp_path / "b.npy", PIXELS)
    assert open_source([PIXELS, PIXELS]).ids[2:4] == ["1/array/2", "2/array/0"]
    assert open_source([tmp_path / "a.npy", PIXELS]).ids[2:4] == ["a.npy/2", "array/0"]
    assert open_source([tmp_path / "a.npy", tmp_path / "b.npy"]).ids[2:4] == ["a.npy/2", "b.npy/0"]


def test_image_shape_stays_where_all_agree(tmp_path: Path) -> None:
    assert open_source([PIXELS, PIXELS]).image_shape == (4, 5)
    assert open_source([PIXELS, PIXELS[:, :2]]).image_shape is None
    write_tree(tmp_path, {"1.png": b""})
    assert open_source([PIXELS, tmp_path]).image_shape is None


def test_labels_are_united_by_name() -> None:
    one = ArraySource(PIXELS, labels=["b", "a", "b"])
    other = ArraySource(PIXELS, labels=["c", "a", "a"])
    source = ConcatSource([one, ArraySource(PIXELS), other])
    assert source.label_names == ("a", "b", "c")
    assert source.labels.tolist() == [1, 0, 1, -1, -1, -1, 2, 0, 0]
    assert source.labels.dtype == np.int32


def test_many_sources_have_a_short_description(tmp_path: Path) -> None:
    write_tree(tmp_path, {f"{number}/x.png": b"" for number in range(20)})
    source = open_source([tmp_path / str(number) for number in range(20)])
    assert source.description == f"{tmp_path}/0 … {tmp_path}/19 (20 sources)"
    assert len(source) == 20


def test_what_was_ignored_adds_up(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a/1.png": b"", "a/x.txt": b"", "b/1.png": b"", "b/x.txt": b"", "b/y.txt": b""})
    assert open_source([tmp_path / "a", tmp_path / "b"]).ignored == 3


def test_limit_takes_the_first(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a/1.png": b"1", "b/2.png": b"2", "b/3.png": b"3"})
    source = open_source(tmp_path, limit=2)
    assert isinstance(source, LimitSource)
    assert source.ids == ["a/1.png", "b/2.png"]
    assert source.labels.tolist() == [0, 1]
    assert source.label_names == ("a", "b")
    assert list(source.read(0, 2)) == [b"1", b"2"]
    with pytest.raises(SourceError, match="holds 2"):
        source.read(0, 3)
    assert isinstance(open_source(tmp_path, limit=3), FileSource)
    assert len(open_source([tmp_path / "a", tmp_path / "b"], limit=2)) == 2


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_is_at_least_one(limit: int) -> None:
    with pytest.raises(SpecError, match=f"limit={limit}"):
        open_source(PIXELS, limit=limit)


def test_no_source_at_all() -> None:
    with pytest.raises(SourceError, match="no source of images was given"):
        open_source([])
