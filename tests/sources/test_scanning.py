import os
from pathlib import Path

import pytest

from pool3.errors import SourceError
from pool3.sources.naming import unescape
from pool3.sources.scanning import scan
from tests.sources.builders import write_tree


def touch(root: Path, *names: str) -> Path:
    return write_tree(root, dict.fromkeys(names, b""))


def test_order_is_natural_and_goes_by_component(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b/1.png",
        "a10/1.png",
        "a2/2.png",
        "a2/10.png",
        "a2/x/1.png",
        "a2-b/1.png",
        "a3.png",
        "A.png",
    )
    assert scan(tmp_path).ids == [
        "A.png", "a2/2.png", "a2/10.png", "a2/x/1.png", "a2-b/1.png", "a3.png", "a10/1.png", "b/1.png",
    ]  # fmt: skip


def test_extensions_in_any_case_and_other_files_counted(tmp_path: Path) -> None:
    images = ["a.JPG", "b.jpeg", "c.jpe", "d.Png", "e.gif", "f.BMP", "g.webp"]
    touch(
        tmp_path,
        *images,
        "notes.txt",
        "jpg",
        "a.jpg.part",
        "sub/x.tiff",
        ".hidden.jpg",
        ".cache/y.jpg",
        ".cache/z.txt",
    )
    found = scan(tmp_path)
    assert found.ids == images
    assert found.ignored == 4


def test_names_that_are_no_utf8_or_odd(tmp_path: Path) -> None:
    names = [
        b"\xff\xfe.png",
        b"new\nline.png",
        b"back\\slash.png",
        b"\\x41.png",
        "ü.png".encode(),
        b"d\xff/x.png",
    ]
    for name in names:
        path = tmp_path / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name)
    ids = scan(tmp_path).ids
    assert sorted(os.fsencode(unescape(id_)) for id_ in ids) == sorted(names)
    assert all(id_.isprintable() for id_ in ids)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "data/a/1.png", "elsewhere/2.png")
    (tmp_path / "data/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/a/up").symlink_to(tmp_path / "data")
    (tmp_path / "data/self").symlink_to("self")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "data/a")
    (tmp_path / "data/a/file.png").symlink_to(tmp_path / "elsewhere/2.png")
    found = scan(tmp_path / "data")
    assert found.ids == ["a/1.png", "a/file.png", "link/2.png", "link/back/1.png", "link/back/file.png"]
    assert scan(tmp_path / "data", ["**", "*.png"]).ids == found.ids


def test_broken_links_are_listed_so_that_they_are_recorded(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    found = scan(tmp_path)
    assert found.ids == ["gone.png", "loop.png"]
    assert found.ignored == 1


def test_a_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "x.png/y.png")
    assert scan(tmp_path).ids == ["x.png/y.png"]
    assert scan(tmp_path, ["*.png"]).ids == []


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["top.png"]),
        ("*/*.png", ["a/1.png", "b/2.png"]),
        ("**/*.png", ["a/1.png", "a/x/3.png", "b/2.png", "top.png"]),
        ("**", ["a/1.jpg", "a/1.png", "a/x/3.png", "b/2.png", "top.png"]),
        ("a/**", ["a/1.jpg", "a/1.png", "a/x/3.png"]),
        ("[ab]/?.*", ["a/1.jpg", "a/1.png", "b/2.png"]),
        ("**/x/*", ["a/x/3.png"]),
        ("**/**/3.png", ["a/x/3.png"]),
        ("a", []),
        ("*", ["top.png"]),
        (".h/*", [".h/4.png"]),
        (".*/*", [".h/4.png"]),
        ("[!a]/*", ["b/2.png"]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    touch(
        tmp_path, "a/1.png", "a/1.jpg", "a/x/3.png", "b/2.png", "top.png", ".h/4.png", "a/.5.png", "notes.txt"
    )
    assert scan(tmp_path, pattern.split("/")).ids == expected


def test_a_pattern_does_not_enter_folders_it_cannot_match(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/deep/1.png", "b/2.png")
    entered = []
    scandir = os.scandir

    def noting(path: str) -> object:
        entered.append(Path(path).name)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noting)
    scan(tmp_path, ["a", "*.png"])
    assert entered == [tmp_path.name, "a"]


def test_an_unreadable_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.png", "shut/2.png")
    scandir = os.scandir

    def refuse(path: str) -> object:  # permissions do not stop root, so they cannot serve here
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceError, match=r"shut cannot be read \(Permission denied\)"):
        scan(tmp_path)


def test_ten_thousand_files(tmp_path: Path) -> None:
    for folder in range(10):
        (tmp_path / f"f{folder}").mkdir()
        for number in range(1000):
            (tmp_path / f"f{folder}" / f"{number}.png").touch()
    assert scan(tmp_path).ids == [f"f{folder}/{number}.png" for folder in range(10) for number in range(1000)]
