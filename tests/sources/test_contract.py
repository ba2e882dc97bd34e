"""What every kind of source promises, in one class; a kind takes a few lines."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pool3.errors import SourceError
from pool3.sources import (
    NO_LABEL,
    ArchiveSource,
    ArraySource,
    CifarSource,
    ConcatSource,
    Content,
    FileSource,
    ItemSource,
    LimitSource,
    Source,
    Unreadable,
    as_source,
    open_source,
)
from tests.sources.builders import cifar_files, cifar_rows, png, write_tar, write_tree, write_zip

NAMES = [f"{folder}/img{number}.png" for folder in ("ant", "bee", "cat") for number in (1, 2, 10)]
TREE = {name: png(value) for value, name in enumerate(NAMES)}
PIXELS = np.random.default_rng(5).integers(0, 256, (11, 4, 6, 3), np.uint8)


def folder(path: Path) -> Source:
    return open_source(write_tree(path / "photos", TREE))


def glob(path: Path) -> Source:
    write_tree(path / "photos", TREE)
    return open_source(f"{path}/photos/**/*.png")


def files(path: Path) -> Source:
    write_tree(path, TREE)
    return open_source([path / name for name in reversed(NAMES)])


def array(_: Path) -> Source:
    return open_source(PIXELS, labels=np.arange(11) % 3)


def grey(_: Path) -> Source:
    return open_source(PIXELS[..., 0])


def npy(path: Path) -> Source:
    np.save(path / "x.npy", PIXELS)
    np.save(path / "x.labels.npy", np.arange(11) % 2)
    return open_source(path / "x.npy")


def npz(path: Path) -> Source:
    np.savez_compressed(path / "x.npz", images=PIXELS, labels=["a", "b"] * 5 + ["a"])
    return open_source(path / "x.npz")


def cifar(path: Path) -> Source:
    return open_source(write_tree(path / "cifar-10-batches-py", cifar_files()))


def cifar_archive(path: Path) -> Source:
    members = [(f"cifar-10-batches-py/{name}", content) for name, content in cifar_files().items()]
    return open_source(write_tar(path / "cifar-10-python.tar.gz", members, "gz"))


def tar(compression: str) -> Callable[[Path], Source]:
    def build(path: Path) -> Source:
        suffix = f".{compression}" if compression else ""
        return open_source(write_tar(path / f"photos.tar{suffix}", list(TREE.items()), compression))

    return build


def zipped(path: Path) -> Source:
    return open_source(write_zip(path / "photos.zip", list(TREE.items())))


def digits(_: Path) -> Source:
    return open_source("sklearn:digits")


def several(path: Path) -> Source:
    write_zip(path / "more.zip", list(TREE.items()))
    return open_source([write_tree(path / "photos", TREE), path / "more.zip", PIXELS])


def limited(path: Path) -> Source:
    return open_source(write_tree(path / "photos", TREE), limit=4)


def items(path: Path) -> Source:
    names = [path / "photos" / name for name in NAMES]
    write_tree(path / "photos", TREE)
    return as_source([*map(str, names), names[0], png(77), PIXELS[0], PIXELS[1, :, :, 0]])


@dataclass(frozen=True)
class Kind:
    build: Callable[[Path], Source]
    type: type[Source]
    count: int
    shape: tuple[int, int] | None = None
    encoded: bool = True
    lost: str | None = None  # what to delete, so that the image at index 1 cannot be read


KINDS = {
    "folder": Kind(folder, FileSource, 9, lost="photos/ant/img2.png"),
    "glob": Kind(glob, FileSource, 9, lost="photos/ant/img2.png"),
    "files": Kind(files, FileSource, 9, lost="cat/img2.png"),
    "array": Kind(array, ArraySource, 11, (4, 6), encoded=False),
    "grey": Kind(grey, ArraySource, 11, (4, 6), encoded=False),
    "npy": Kind(npy, ArraySource, 11, (4, 6), encoded=False),
    "npz": Kind(npz, ArraySource, 11, (4, 6), encoded=False),
    "cifar": Kind(cifar, CifarSource, 15, (32, 32), encoded=False),
    "cifar.tar.gz": Kind(cifar_archive, CifarSource, 15, (32, 32), encoded=False),
    "tar": Kind(tar(""), ArchiveSource, 9, lost="photos.tar"),
    "tar.gz": Kind(tar("gz"), ArchiveSource, 9, lost="photos.tar.gz"),
    "tar.bz2": Kind(tar("bz2"), ArchiveSource, 9, lost="photos.tar.bz2"),
    "tar.xz": Kind(tar("xz"), ArchiveSource, 9, lost="photos.tar.xz"),
    "zip": Kind(zipped, ArchiveSource, 9, lost="photos.zip"),
    "digits": Kind(digits, ArraySource, 1797, (12, 12), encoded=False),
    "several": Kind(several, ConcatSource, 29, encoded=False, lost="photos/ant/img2.png"),
    "items": Kind(items, ItemSource, 13, encoded=False, lost="photos/ant/img2.png"),
    "limited": Kind(limited, LimitSource, 4, lost="photos/ant/img2.png"),
}


def plain(content: Content) -> object:
    """Something that `==` compares as a whole."""
    return (content.shape, content.tobytes()) if isinstance(content, np.ndarray) else content


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
class TestSourceContract:
    def test_is_of_its_type_and_counts_its_images(self, kind: Kind, tmp_path: Path) -> None:
        source = kind.build(tmp_path)
        assert type(source) is kind.type
        assert len(source) == len(source.ids) == kind.count
        assert len(list(source.read(0, len(source)))) == kind.count

    def test_ids_are_unique_printable_and_relative(self, kind: Kind, tmp_path: Path) -> None:
        ids = kind.build(tmp_path).ids
        assert len(set(ids)) == len(ids)
        for id_ in ids:
            assert id_.encode().decode() == id_
            assert id_.isprintable()
            assert str(tmp_path) not in id_

    def test_labels_align_with_ids_and_names(self, kind: Kind, tmp_path: Path) -> None:
        source = kind.build(tmp_path)
        assert source.labels.shape == (kind.count,)
        assert source.labels.dtype == np.int32
        assert source.labels.min() >= NO_LABEL
        assert source.labels.max() < len(source.label_names)
        assert len(set(source.label_names)) == len(source.label_names)

    def test_contents_are_bytes_or_arrays_of_the_shape_promised(self, kind: Kind, tmp_path: Path) -> None:
        source = kind.build(tmp_path)
        assert source.image_shape == kind.shape
        for content in source.read(0, len(source)):
            if kind.encoded:
                assert isinstance(content, bytes)
            if kind.shape is not None:
                assert isinstance(content, np.ndarray)
                assert content.shape == (*kind.shape, 3)
                assert content.dtype == np.uint8
                assert content.flags.c_contiguous

    def test_any_range_agrees_with_a_full_read(self, kind: Kind, tmp_path: Path) -> None:
        source = kind.build(tmp_path)
        full = [plain(content) for content in source.read(0, len(source))]
        assert len(set(full)) > 1
        rng = random.Random(7)
        ranges = [sorted(rng.choices(range(len(source) + 1), k=2)) for _ in range(40)]
        ranges += [[index, index + 1] for index in reversed(range(min(len(source), 50)))]  # backwards
        ranges += [[0, 0], [len(source), len(source)]]
        for start, stop in ranges:
            assert [plain(content) for content in source.read(start, stop)] == full[start:stop]

    def test_an_abandoned_read_harms_nothing(self, kind: Kind, tmp_path: Path) -> None:
        source = kind.build(tmp_path)
        full = [plain(content) for content in source.read(0, len(source))]
        abandoned = source.read(0, len(source))
        next(abandoned)
        assert [plain(content) for content in source.read(1, len(source))] == full[1:]
        del abandoned
        assert [plain(content) for content in source.read(0, len(source))] == full

    @pytest.mark.parametrize(("start", "stop"), [(-1, 1), (2, 1), (0, 100_000)])
    def test_a_range_outside_is_an_error_at_once(
        self, kind: Kind, tmp_path: Path, start: int, stop: int
    ) -> None:
        source = kind.build(tmp_path)
        with pytest.raises(SourceError, match="which holds"):
            source.read(start, stop)

    def test_manifest_is_stable_and_sensitive(self, kind: Kind, tmp_path: Path) -> None:
        source, again = kind.build(tmp_path), kind.build(tmp_path)
        digest = source.manifest_sha256()
        assert digest == again.manifest_sha256()
        again.ids = [*again.ids[:-1], "another"]
        assert again.manifest_sha256() != digest
        again = kind.build(tmp_path)
        again.labels = again.labels.copy()
        again.labels[0] += 1
        assert again.manifest_sha256() != digest
        again = kind.build(tmp_path)
        again.label_names = (*again.label_names, "another")
        assert again.manifest_sha256() != digest
        assert LimitSource(source, kind.count - 1).manifest_sha256() != digest

    def test_opens_as_itself(self, kind: Kind, tmp_path: Path) -> None:
        source = kind.build(tmp_path)
        assert open_source(source) is source
        assert open_source([source]) is source
        assert open_source(source, limit=kind.count) is source

    def test_concatenates_and_limits(self, kind: Kind, tmp_path: Path) -> None:
        source = kind.build(tmp_path)
        extra = ArraySource(PIXELS[:2], labels=["zebra", "yak"], name="extra")
        both = ConcatSource([source, extra])
        assert len(both) == kind.count + 2
        assert len(set(both.ids)) == len(both)
        assert [both.label_names[label] for label in both.labels[-2:]] == ["zebra", "yak"]
        np.testing.assert_array_equal(both.labels[: kind.count], source.labels)
        contents = [plain(content) for content in both.read(0, len(both))]
        assert contents[: kind.count] == [plain(content) for content in source.read(0, kind.count)]
        assert contents[-1] == plain(PIXELS[1])


LOST = {name: kind for name, kind in KINDS.items() if kind.lost}


@pytest.mark.parametrize("kind", LOST.values(), ids=LOST.keys())
def test_what_is_lost_after_opening_is_unreadable(kind: Kind, tmp_path: Path) -> None:
    source = kind.build(tmp_path)
    before = list(source.read(0, len(source)))
    assert kind.lost is not None
    (tmp_path / kind.lost).unlink()
    after = list(source.read(0, len(source)))
    assert len(after) == len(before)
    assert after[1] == Unreadable("FileNotFoundError", "No such file or directory")
    if issubclass(kind.type, FileSource):
        assert after[:1] + after[2:] == before[:1] + before[2:]
    else:
        assert all(isinstance(content, bytes | Unreadable | np.ndarray) for content in after)


def test_cifar_rows_arrive_as_pixels(tmp_path: Path) -> None:
    source = cifar(tmp_path)
    (image,) = source.read(1, 2)
    assert isinstance(image, np.ndarray)
    red, green, blue = cifar_rows(5, 1)[1].reshape(3, 32, 32)
    np.testing.assert_array_equal(image, np.stack([red, green, blue], axis=-1))
