import gzip
import io
import os
import struct
import tarfile
import threading
import zipfile
from pathlib import Path
from typing import IO

import pytest

from pool3.errors import SourceError, SourceNotFoundError
from pool3.sources import ArchiveSource, Source, Unreadable, archives, base, open_source
from pool3.sources.tars import open_stream
from tests.sources.builders import png, write_tar, write_tree, write_zip

CIFAR_JPEGS = Path(__file__).parents[3] / "shared/data/cifar10_jpeg_20k.tar.gz"
IMAGES = [(f"{folder}/{number}.png", os.urandom(3000)) for folder in "ab" for number in range(8)]
KINDS = {"tar": "", "tar.gz": "gz", "tgz": "gz", "tar.bz2": "bz2", "tar.xz": "xz", "zip": "zip"}


def write(path: Path, kind: str, files: list[tuple[str, bytes]]) -> Path:
    archive = path / f"x.{kind}"
    return write_zip(archive, list(files)) if kind == "zip" else write_tar(archive, list(files), KINDS[kind])


def everything(source: Source) -> list[object]:
    return list(source.read(0, len(source)))


@pytest.mark.parametrize("kind", KINDS)
def test_order_is_the_archives_and_others_are_ignored(tmp_path: Path, kind: str) -> None:
    files = [
        ("b/10.JPG", b"1"),
        ("a/readme.txt", b""),
        ("b/2.png", b"2"),
        (".x/1.png", b""),
        ("b/._2.png", b""),
        ("z.gif", b"3"),
    ]
    source = open_source(write(tmp_path, kind, files))
    assert isinstance(source, ArchiveSource)
    assert source.ids == ["b/10.JPG", "b/2.png", "z.gif"]
    assert source.label_names == ("b",)
    assert source.labels.tolist() == [0, 0, -1]
    assert source.ignored == 1
    assert everything(source) == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["cat/1.png", "dog/2.png"], ["cat", "dog"]),
        (["data/cat/1.png", "data/dog/2.png"], ["cat", "dog"]),
        (["train/cat/1.png", "test/dog/2.png"], ["train", "test"]),
        (["data/train/cat/1.png", "data/test/dog/2.png"], ["train", "test"]),
        (["data/cat/1.png", "data/2.png"], ["data", "data"]),
        (["cat/1.png", "cat/2.png"], ["cat", "cat"]),
        (["./data/cat/1.png", "data/./dog//2.png"], ["cat", "dog"]),
        (["/abs/cat/1.png", "../abs/dog/2.png"], ["cat", "dog"]),
        (["1.png", "2.png"], [None, None]),
        (["1.png", "cat/2.png"], [None, "cat"]),
    ],
)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_label_rule(tmp_path: Path, kind: str, names: list[str], labels: list[str | None]) -> None:
    source = open_source(write(tmp_path, kind, [(name, b"") for name in names]))
    assert [source.label_names[label] if label >= 0 else None for label in source.labels] == labels


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_unsafe_names_are_names_only(tmp_path: Path, kind: str) -> None:
    files = [("../../evil.png", b"1"), ("/etc/evil.png", b"2"), ("a/../b.png", b"3"), ("c\\d\n.png", b"4")]
    before = set(tmp_path.parent.rglob("*"))
    source = open_source(write(tmp_path, kind, files))
    assert source.ids == ["../../evil.png", "/etc/evil.png", "a/../b.png", "c\\\\d\\x0a.png"]
    assert everything(source) == [b"1", b"2", b"3", b"4"]
    assert set(tmp_path.parent.rglob("*")) - before == {tmp_path / f"x.{kind}"}


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_counts_once_and_last(tmp_path: Path, kind: str) -> None:
    source = open_source(
        write(tmp_path, kind, [("a.png", b"old"), ("b.png", b"b"), ("./a.png", b"new"), ("a.png", b"newest")])
    )
    assert source.ids == ["b.png", "a.png"]
    assert everything(source) == [b"b", b"newest"]
    assert source.ignored == 2


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    return member


@pytest.mark.parametrize("compression", ["", "gz"])
def test_links_devices_and_folders_in_a_tar(tmp_path: Path, compression: str) -> None:
    members: list[tuple[str | tarfile.TarInfo, bytes]] = [
        (special("a", tarfile.DIRTYPE), b""),
        (special("a/passwd.png", tarfile.SYMTYPE, "/etc/passwd"), b""),
        (special("a/hard.png", tarfile.LNKTYPE, "a/real.png"), b""),
        (special("a/null.png", tarfile.CHRTYPE), b""),
        (special("a/pipe.png", tarfile.FIFOTYPE), b""),
        (special("folder.png", tarfile.DIRTYPE), b""),
        ("a/real.png", b"real"),
    ]
    source = open_source(write_tar(tmp_path / "x.tar", members, compression))
    assert source.ids == ["a/real.png"]
    assert source.ignored == 4
    assert everything(source) == [b"real"]


def test_links_and_folders_in_a_zip(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    path = write_zip(tmp_path / "x.zip", [(link, b"/etc/passwd"), ("d.png/", b""), ("real.png", b"real")])
    source = open_source(path)
    assert source.ids == ["real.png"]
    assert source.ignored == 1


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xe9/\xfe.png")
    for format_ in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(tmp_path / "x.tar", "w", format=format_, errors="surrogateescape") as tar:
            tar.addfile(tarfile.TarInfo(name))
        source = open_source(tmp_path / "x.tar")
        assert source.ids == ["\\xff\\xe9/\\xfe.png"]
        assert source.label_names == ("\\xff\\xe9",)


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_archives_are_refused(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, IMAGES)
    whole = path.read_bytes()
    # A plain tar ends in zeros that may be lacking, so it is cut within the members, which take 3,584 bytes each.
    end = 3584 * len(IMAGES) if kind == "tar" else len(whole)
    for length in (0, 1, 300, 512, 513, 2000, end // 2 + 100, end - 600, end - 4):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError, match="cannot be listed"):
            open_source(path)


@pytest.mark.parametrize("kind", KINDS)
def test_corrupt_archives_lose_no_image_in_silence(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, IMAGES)
    whole = path.read_bytes()
    for place in range(5, len(whole), len(whole) // 60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            source = open_source(path)
        except SourceError:
            continue
        contents = everything(source)
        assert len(contents) + source.ignored >= len(IMAGES)
        if kind != "tar":  # a plain tar has no checksum over its contents
            for content, (_, expected) in zip(contents, IMAGES, strict=False):
                assert isinstance(content, Unreadable) or content == expected


def test_a_damaged_header_in_mid_tar_is_no_end(tmp_path: Path) -> None:
    path = write(tmp_path, "tar", IMAGES)
    content = bytearray(path.read_bytes())
    content[5 * 3584 + 150] ^= 0xFF  # in the sixth member's checksum
    path.write_bytes(content)
    with pytest.raises(SourceError, match="at byte 17920"):
        open_source(path)


def test_no_archive_at_all(tmp_path: Path) -> None:
    for name in ("x.tar", "x.tar.gz", "x.zip"):
        for content in (b"", b"hello", b"\x1f\x8b hello", b"PK\x03\x04 hello", gzip.compress(b"hello" * 500)):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(SourceError, match="cannot be listed"):
                open_source(tmp_path / name)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_nothing_in_it(tmp_path: Path, kind: str) -> None:
    with pytest.raises(SourceNotFoundError, match=r"holds no image: .* ignored 1 other"):
        open_source(write(tmp_path, kind, [("a.txt", b"")]))


def test_kind_is_told_by_content(tmp_path: Path) -> None:
    os.rename(write(tmp_path, "zip", IMAGES), tmp_path / "y.tar")  # noqa: PTH104
    assert len(ArchiveSource(tmp_path / "y.tar")) == len(IMAGES)
    os.rename(write(tmp_path, "tar.xz", IMAGES), tmp_path / "z.tar.gz")  # noqa: PTH104
    assert len(open_source(tmp_path / "z.tar.gz")) == len(IMAGES)
    names = [("BZh9/1.png", b"1"), ("PK/2.png", b"2")]
    assert everything(open_source(write(tmp_path, "tar", names))) == [b"1", b"2"]
    assert len(open_source(write(tmp_path, "tar", names[::-1]))) == 2


def test_an_encrypted_zip_member_is_unreadable(tmp_path: Path) -> None:
    path = write(tmp_path, "zip", [("a.png", b"a"), ("secret.png", b"s"), ("z.png", b"z")])
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.index(signature, content.index(signature) + 4)
        content[start + flags] |= 1
    path.write_bytes(content)
    a, secret, z = everything(open_source(path))
    assert (a, z) == (b"a", b"z")
    assert isinstance(secret, Unreadable)
    assert secret.error == "RuntimeError"
    assert "encrypted" in secret.message


def test_an_unknown_compression_in_a_zip_is_unreadable(tmp_path: Path) -> None:
    path = write(tmp_path, "zip", [("a.png", b"a"), ("b.png", b"b")])
    content = bytearray(path.read_bytes())
    for signature, method in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", content, content.index(signature) + method, 97)
    path.write_bytes(content)
    a, b = everything(open_source(path))
    assert isinstance(a, Unreadable)
    assert a.error == "NotImplementedError"
    assert b == b"b"


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_members_above_the_limit_are_unreadable(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "MAX_ENCODED_BYTES", 1000)
    path = write(tmp_path, kind, [("a.png", bytes(1000)), ("bomb.png", bytes(1001)), ("c.png", b"c")])
    assert everything(open_source(path)) == [
        bytes(1000),
        Unreadable("OSError", "1001 bytes, above the limit of 1000 for one image"),
        b"c",
    ]


def test_a_zip_member_without_a_name_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, "zip", [("a.png", b"a"), ("NAME", b"b")])
    path.write_bytes(path.read_bytes().replace(b"NAME", b"\0AME"))  # a name ends at a NUL byte
    source = open_source(path)
    assert (source.ids, source.ignored) == (["a.png"], 1)


def test_a_zip_member_that_lies_about_its_size_is_unreadable(tmp_path: Path) -> None:
    path = write(tmp_path, "zip", [("a.png", bytes(100_000))])
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, 10)
    path.write_bytes(content)
    (a,) = everything(open_source(path))
    assert isinstance(a, Unreadable)
    assert a.error == "BadZipFile"


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_tar_cut_short_after_listing(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, IMAGES)
    source = open_source(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    contents = everything(source)
    assert len(contents) == len(IMAGES)
    assert isinstance(contents[-1], Unreadable)
    for content, (_, expected) in zip(contents, IMAGES, strict=True):
        assert isinstance(content, Unreadable) or content == expected


class CountedStarts:
    """Counts how often a stream is opened, and how often it is sent backward."""

    def __init__(self) -> None:
        self.opened = 0
        self.backward = 0

    def open(self, path: Path) -> IO[bytes]:
        self.opened += 1
        stream = open_stream(path)
        seek = stream.seek

        def counting(offset: int, whence: int = 0) -> int:
            self.backward += whence == 0 and offset < stream.tell()
            return seek(offset, whence)

        stream.seek = counting  # type: ignore[method-assign]
        return stream


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz"])
def test_ascending_reads_decompress_once(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(write(tmp_path, kind, IMAGES))
    starts = CountedStarts()
    monkeypatch.setattr(archives, "open_stream", starts.open)
    for start, stop in ((0, 3), (3, 4), (4, 4), (6, 10), (12, 15)):
        assert list(source.read(start, stop)) == [content for _, content in IMAGES[start:stop]]
    assert (starts.opened, starts.backward) == (1, 0)
    assert list(source.read(2, 16)) == [content for _, content in IMAGES[2:]]
    assert (starts.opened, starts.backward) == (1, 1)
    assert list(source.read(0, 1)) == [IMAGES[0][1]]  # the last image closed the archive
    assert (starts.opened, starts.backward) == (2, 1)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_threads_that_read_at_once_get_their_own_images(tmp_path: Path, kind: str) -> None:
    source = open_source(write(tmp_path, kind, IMAGES))
    wrong: list[int] = []

    def read(index: int) -> None:
        for _ in range(20):
            wrong.extend(index for content in source.read(index, index + 1) if content != IMAGES[index][1])

    threads = [threading.Thread(target=read, args=(index,)) for index in range(len(IMAGES))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_sparse_member_is_unreadable(tmp_path: Path) -> None:
    header = bytearray(tarfile.TarInfo("a.png").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:410] = b"00000000000\0" + b"00000000000\0"
    header[483:495] = b"00000001000\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "x.tar").write_bytes(bytes(header) + bytes(1024))
    (content,) = everything(open_source(tmp_path / "x.tar"))
    assert content == Unreadable("OSError", "stored as a sparse file")


def test_a_folder_and_its_archive_hold_the_same_images(tmp_path: Path) -> None:
    tree = {name: png(number) for number, (name, _) in enumerate(IMAGES)}
    folder = open_source(write_tree(tmp_path / "photos", tree))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for id_ in folder.ids:
            tar.add(tmp_path / "photos" / id_, id_)
    (tmp_path / "photos.tgz").write_bytes(buffer.getvalue())
    assert open_source(tmp_path / "photos.tgz").manifest_sha256() == folder.manifest_sha256()


@pytest.mark.skipif(
    not CIFAR_JPEGS.is_file(), reason="the CIFAR-10 JPEG files lie beside some checkouts only"
)
def test_cifar_as_jpeg_files() -> None:
    source = open_source(CIFAR_JPEGS)
    assert len(source) == 20_000
    assert source.label_names == ("test", "train")
    assert source.ids[0] == "test/airplane/0000.jpg"
    assert source.ignored == 0
    (last,) = source.read(19_999, 20_000)
    assert isinstance(last, bytes)
    assert last.startswith(b"\xff\xd8")
