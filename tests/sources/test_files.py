import os
import threading
from pathlib import Path

import numpy as np
import pytest

from pool3.errors import SourceError, SourceNotFoundError
from pool3.sources import FileSource, Unreadable, base, files, open_source
from tests.sources.builders import png, write_tree


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("pool3-read")]


def test_folder(tmp_path: Path) -> None:
    names = ["cat10/1.png", "cat2/x/1.png", "loose.png"]
    write_tree(tmp_path / "data", {**{name: name.encode() for name in names}, "empty/readme.txt": b""})
    source = open_source(tmp_path / "data")
    assert source.ids == ["cat2/x/1.png", "cat10/1.png", "loose.png"]
    assert source.label_names == ("cat2", "cat10")
    assert source.labels.tolist() == [0, 1, -1]
    assert source.description == str(tmp_path / "data")
    assert source.location == tmp_path / "data"
    assert source.ignored == 1
    assert source.image_shape is None
    assert list(source.read(0, 3)) == [id_.encode() for id_ in source.ids]


def test_folder_without_classes_has_no_label_names(tmp_path: Path) -> None:
    source = open_source(write_tree(tmp_path, {"1.png": b"", "2.png": b""}))
    assert source.label_names == ()
    assert source.labels.tolist() == [-1, -1]


def test_description_is_what_the_user_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path, {"data/a/1.png": b""})
    monkeypatch.chdir(tmp_path)
    assert open_source("data").description == "data"
    assert open_source("data/a/1.png").description == "data/a/1.png"
    assert open_source("data/*/1.png").description == "data/*/1.png"
    assert open_source("data").manifest_sha256() == open_source(tmp_path / "data").manifest_sha256()
    source = open_source("data/a/../a/1.png")
    monkeypatch.chdir("/")  # opened once, a source does not hang on the current folder
    assert list(source.read(0, 1)) == [b""]


def test_glob_labels_go_by_the_first_folder_below_its_root(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {"d/train/cat/1.png": b"", "d/train/dog/1.png": b"", "d/test/cat/1.png": b"", "d/x.txt": b""},
    )
    source = open_source(f"{tmp_path}/d/train/*/*.png")
    assert (source.ids, source.label_names) == (["cat/1.png", "dog/1.png"], ("cat", "dog"))
    source = open_source(f"{tmp_path}/d/*/cat/*")
    assert (source.ids, source.label_names) == (["test/cat/1.png", "train/cat/1.png"], ("test", "train"))


def test_an_existing_path_with_wildcards_is_a_path(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a[1]/x*.png": b"star", "a[1]/xy.png": b"", "a1/z.png": b""})
    assert open_source(tmp_path / "a[1]").ids == ["x*.png", "xy.png"]
    source = open_source(f"{tmp_path}/a[1]/x*.png")
    assert list(source.read(0, len(source))) == [b"star"]
    assert open_source(f"{tmp_path}/a[1]/x?.png").ids == ["x*.png", "xy.png"]
    assert open_source(f"{tmp_path}/a[0-9]/*").ids == ["a1/z.png"]


def test_files_keep_their_order_without_labels(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a/b/2.png": b"2", "a/1.png": b"1", "a/c/3.png": b"3"})
    source = open_source([tmp_path / "a/c/3.png", tmp_path / "a/1.png", tmp_path / "a/b/2.png"])
    assert isinstance(source, FileSource)
    assert source.ids == ["c/3.png", "1.png", "b/2.png"]
    assert source.labels.tolist() == [-1, -1, -1]
    assert source.label_names == ()
    assert list(source.read(0, 3)) == [b"3", b"1", b"2"]
    assert open_source(tmp_path / "a/b/2.png").ids == ["2.png"]


def test_a_file_given_twice_is_an_error(tmp_path: Path) -> None:
    write_tree(tmp_path, {"1.png": b"", "2.png": b"", "sub/x": b""})
    with pytest.raises(SourceError, match=r"1\.png appears twice"):
        open_source([tmp_path / "1.png", tmp_path / "2.png", tmp_path / "sub/../1.png"])


def test_many_files_have_a_short_description(tmp_path: Path) -> None:
    write_tree(tmp_path, {f"{number}.png": b"" for number in range(500)})
    description = open_source([tmp_path / f"{number}.png" for number in range(500)]).description
    assert description == f"{tmp_path}/0.png … {tmp_path}/499.png (500 sources)"


def test_odd_names_are_read(tmp_path: Path) -> None:
    names = [b"\xff.png", b"new\nline.png", b"back\\slash.png", b"\\x41.png"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    source = open_source(tmp_path)
    assert sorted(content for content in source.read(0, 4) if isinstance(content, bytes)) == sorted(names)
    alone = open_source(tmp_path / os.fsdecode(names[0]))
    assert alone.description.isprintable()
    assert list(alone.read(0, 1)) == [names[0]]


def test_what_cannot_be_read_is_unreadable_and_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path, {f"{number}.png": b"" for number in range(7)})
    monkeypatch.setattr(base, "MAX_ENCODED_BYTES", 1000)
    source = open_source(tmp_path)
    for number in range(5):
        (tmp_path / f"{number}.png").unlink()
    (tmp_path / "1.png").mkdir()
    (tmp_path / "2.png").symlink_to("2.png")
    os.mkfifo(tmp_path / "3.png")
    (tmp_path / "4.png").write_bytes(b"x" * 1001)
    (tmp_path / "5.png").write_bytes(b"x" * 1000)
    assert list(source.read(0, 7)) == [
        Unreadable("FileNotFoundError", "No such file or directory"),
        Unreadable("IsADirectoryError", "Is a directory"),
        Unreadable("OSError", "Too many levels of symbolic links"),
        Unreadable("OSError", "not a regular file"),
        Unreadable("OSError", "1001 bytes, above the limit of 1000 for one image"),
        b"x" * 1000,
        b"",
    ]


def test_reads_ahead_within_bounds_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 3 * files.READ_AHEAD
    write_tree(tmp_path, {f"{number}.png": png(number) for number in range(count)})
    source = open_source(tmp_path)
    begun = 0
    most = 0
    read_file = files.read_file
    lock = threading.Lock()

    def counting(path: str) -> bytes | Unreadable:
        nonlocal begun
        with lock:
            begun += 1
        return read_file(path)

    monkeypatch.setattr(files, "read_file", counting)
    for number, content in enumerate(source.read(0, count)):
        assert content == png(number)
        most = max(most, begun - number)
        assert len(reading_threads()) <= files.READ_THREADS
    assert 1 < most <= files.READ_AHEAD
    assert begun == count
    assert reading_threads() == []


def test_closing_early_stops_the_threads(tmp_path: Path) -> None:
    source = open_source(write_tree(tmp_path, {f"{number}.png": b"" for number in range(200)}))
    reading = source.read(0, 200)
    next(reading)
    assert reading_threads()
    reading.close()  # type: ignore[attr-defined]
    assert reading_threads() == []


def test_nothing_found_says_what_was_looked_for(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.txt": b"", "b/c.tiff": b"", ".hidden.png": b""})
    with pytest.raises(SourceNotFoundError, match=r"looked for \.jpg .* ignored 2 other files"):
        open_source(tmp_path)
    with pytest.raises(SourceNotFoundError, match=r"match .*\*\.txt: looked for .* ignored 1 other files"):
        open_source(f"{tmp_path}/*.txt")
    with pytest.raises(SourceNotFoundError, match=r"where the glob .* begins, does not exist"):
        open_source(f"{tmp_path}/missing/*.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="ignored 0 other"):
        open_source(tmp_path / "empty")


def test_ten_thousand_files_are_read_by_ranges(tmp_path: Path) -> None:
    for number in range(10_000):
        (tmp_path / f"{number}.png").write_bytes(b"%d" % number)
    source = open_source(tmp_path)
    contents = [
        content for start in range(0, 10_000, 512) for content in source.read(start, min(start + 512, 10_000))
    ]
    assert contents == [b"%d" % number for number in range(10_000)]
    assert np.all(source.labels == -1)
