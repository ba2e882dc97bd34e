"""Pictures of rows: the right ones or none, of whatever images, and hostile ones break nothing."""

from __future__ import annotations

import base64
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pool3
from pool3.errors import SourceNotFoundError
from pool3.pages import find_images, make_sprites
from pool3.pages.thumbnails import encode, shrink
from tests.sourced import write_features

RNG = np.random.default_rng(0)


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, channels), np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def opened(uri: str) -> np.ndarray:
    head, _, content = uri.partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content, validate=True))).convert("RGB"))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Six exact images of different sizes in two classes."""
    place = tmp_path / "images"
    for i in range(6):
        path = place / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(20 + i, 30 - i)).save(path)
    return place


def test_each_row_gets_its_own_image_exactly(folder, tmp_path) -> None:
    with pool3.open_features(write_features(tmp_path / "f.h5", folder)) as file:
        images = find_images(file)  # by the source that the file records
        pictures = images.pictures([4, 0, 5])
        assert set(pictures) == {0, 4, 5}
        for row, picture in pictures.items():
            expected = np.asarray(Image.open(folder / file.ids[row]))
            np.testing.assert_array_equal(opened(picture.uri), expected)
            assert (picture.height, picture.width) == expected.shape[:2]
            assert picture.pixelated
        assert images.note == ""


def test_changed_missing_and_undecodable_images_get_no_picture_and_are_counted(folder, tmp_path) -> None:
    (folder / "a" / "bad.jpg").write_bytes(b"\xff\xd8\xff but no JPEG")
    path = write_features(tmp_path / "f.h5", folder)
    (folder / "a" / "0.png").unlink()
    Image.fromarray(noise(9, 9)).save(folder / "b" / "1.png")
    with pool3.open_features(path) as file:
        images = find_images(file, folder)
        shown = {file.ids[row] for row in images.pictures(np.arange(len(file)))}
    assert shown == {"a/2.png", "a/4.png", "b/3.png", "b/5.png"}
    assert images.note == (
        "3 of 7 images are not shown: 1 missing or unreadable, 1 changed since their features were computed, "
        "1 that cannot be drawn"
    )


def test_a_source_that_is_gone_costs_the_pictures_alone_unless_asked_for(folder, tmp_path) -> None:
    path = write_features(tmp_path / "f.h5", folder)
    folder.rename(tmp_path / "elsewhere")
    with pool3.open_features(path) as file:
        images = find_images(file)
        assert images.pictures([0]) == {}
        assert "does not exist" in images.note
        assert "--source" in images.note
        with pytest.raises(SourceNotFoundError):
            find_images(file, folder)
        assert set(find_images(file, tmp_path / "elsewhere").pictures([0])) == {0}


def test_arrays_archives_and_several_sources(folder, tmp_path) -> None:
    array = noise(4, 8 * 8 * 3).reshape(4, 8, 8, 9)[..., :3]
    np.save(tmp_path / "array.npy", np.ascontiguousarray(array))
    with tarfile.open(tmp_path / "images.tar.gz", "w:gz") as archive:
        archive.add(folder, "images")
    both = [str(tmp_path / "array.npy"), str(tmp_path / "images.tar.gz")]
    for number, source in enumerate([*both, both]):
        with pool3.open_features(write_features(tmp_path / f"{number}.h5", source)) as file:
            images = find_images(file)
            assert len(images.pictures(np.arange(len(file)))) == len(file), images.note


def test_merged_files_with_prefixed_ids_find_their_images(folder, tmp_path) -> None:
    # Of features that are the same they are not: merging asks for one provenance, not for other images.
    other = tmp_path / "other"
    for i in range(3):
        (other / "c").mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(5 + i, 5)).save(other / "c" / f"{i}.png")
    parts = [write_features(tmp_path / f"{i}.h5", place) for i, place in enumerate((folder, other))]
    merged = tmp_path / "all.h5"
    pool3.merge_features(parts, merged, prefix_ids=True)
    with pool3.open_features(merged) as file:
        images = find_images(file)
        pictures = images.pictures(np.arange(len(file)))
        assert len(pictures) == 9, images.note
        np.testing.assert_array_equal(opened(pictures[8].uri), noise(7, 5))


@pytest.mark.parametrize(
    ("content", "colour"),
    [
        (encoded(Image.new("L", (8, 6), 90), "PNG"), (90, 90, 90)),
        (encoded(Image.new("1", (8, 6), 1), "PNG"), (255, 255, 255)),
        (encoded(Image.new("P", (8, 6), 0), "GIF"), (0, 0, 0)),
        (encoded(Image.new("RGBA", (8, 6), (255, 0, 0, 0)), "PNG"), (255, 255, 255)),
        (encoded(Image.new("RGBA", (8, 6), (255, 0, 0, 128)), "PNG"), (255, 127, 127)),
        (encoded(Image.new("LA", (8, 6), (0, 0)), "PNG"), (255, 255, 255)),
        (encoded(Image.fromarray(np.full((6, 8), 0x8000, np.uint16)), "PNG"), (128, 128, 128)),
        (encoded(Image.new("CMYK", (8, 6), (0, 255, 255, 0)), "JPEG", quality=100), (254, 0, 0)),
        (
            encoded(
                Image.new("RGB", (8, 6), "lime"),
                "WEBP",
                save_all=True,
                append_images=[Image.new("RGB", (8, 6), "red")],
                lossless=True,
            ),
            (0, 255, 0),
        ),
        (np.full((6, 8, 3), (1, 2, 3), np.uint8), (1, 2, 3)),
    ],
    ids=[
        "grey", "bits", "palette", "transparent", "half", "grey-alpha", "16-bit", "cmyk", "animated", "array",
    ],
)  # fmt: skip
def test_every_mode_becomes_rgb(content, colour) -> None:
    pixels = shrink(content, 64)
    assert pixels is not None
    assert pixels.shape == (6, 8, 3)
    assert np.abs(pixels.astype(int) - colour).max() <= 2


def bomb() -> bytes:
    """A PNG of 60,000 × 60,000 pixels in a few bytes of header."""
    whole = bytearray(encoded(Image.new("1", (16, 16)), "PNG"))
    import zlib

    whole[16:24] = (60_000).to_bytes(4, "big") * 2
    whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
    return bytes(whole)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        encoded(Image.fromarray(noise(64, 64)), "PNG")[:900],
        encoded(Image.fromarray(noise(64, 64)), "TIFF"),
        bomb(),
    ],
    ids=["empty", "svg", "cut", "tiff", "bomb"],
)
def test_hostile_files_give_no_picture(content) -> None:
    assert shrink(content, 64) is None


def test_large_images_shrink_to_fit_and_keep_their_shape() -> None:
    large = encoded(Image.new("RGB", (1200, 600), (10, 200, 90)), "JPEG")
    pixels = shrink(large, 96)
    assert pixels is not None
    assert pixels.shape == (48, 96, 3)
    assert np.abs(pixels.astype(int) - (10, 200, 90)).max() <= 3
    picture = encode(noise(100, 50))
    assert (picture.width, picture.height, picture.pixelated) == (50, 100, False)


def test_sheets_hold_each_picture_at_its_place_untouched_by_neighbours(tmp_path) -> None:
    # Neighbours of opposite colours, in sizes that are no multiple of a block.
    images = np.zeros((300, 11, 13, 3), np.uint8)
    images[::2] = 255
    images[:, 0, 0] = 128
    path = write_features(tmp_path / "f.h5", images)
    rows = np.array([299, *range(298)])
    with pool3.open_features(path) as file:
        found = find_images(file, images)
        sprites = make_sprites(found, rows)
    data = sprites.data()
    assert (data["sizes"], data["tiles"], len(data["sheets"])) == ([13, 11], [16, 16], 2)
    sheets = [opened(sheet) for sheet in data["sheets"]]
    each = data["columns"] ** 2
    for point, row in enumerate(rows):
        number = data["place"][point]
        top, left = (16 * n for n in divmod(number % each, data["columns"]))
        shown = sheets[number // each][top : top + 11, left : left + 13]
        assert abs(int(shown[8:, 8:].mean()) - int(images[row, 1, 1, 0])) <= 1
        assert np.abs(shown.astype(int) - images[row]).mean() < 12


def test_a_picture_that_is_missing_has_no_place(folder, tmp_path) -> None:
    path = write_features(tmp_path / "f.h5", folder)
    (folder / "b" / "3.png").unlink()
    with pool3.open_features(path) as file:
        gone = file.ids.index("b/3.png")
        data = make_sprites(find_images(file), np.arange(6)).data()
    assert data["place"][gone] == -1
    assert sorted(data["place"]) == [-1, 0, 1, 2, 3, 4]
    assert len(data["sizes"]) == 2 * 5  # they differ
