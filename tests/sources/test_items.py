"""Images given one by one by a program, and what is said of things that are none."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pool3.errors import SourceError
from pool3.sources import ArraySource, ItemSource, Unreadable, as_source
from tests.sources.builders import png

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), np.uint8)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(lambda paths: paths, id="list of Path"),
        pytest.param(lambda paths: tuple(map(str, paths)), id="tuple of str"),
        pytest.param(lambda paths: np.array([str(path) for path in paths]), id="text array"),
        pytest.param(lambda paths: np.array(paths, dtype=object), id="object array"),
        pytest.param(lambda paths: np.array([str(p) for p in paths], dtype=object)[:, None], id="one column"),
        pytest.param(
            lambda paths: pd.Series([str(path) for path in paths], index=range(9, 4, -1)), id="Series"
        ),
        pytest.param(lambda paths: pd.DataFrame({"path": [str(path) for path in paths]}), id="table"),
    ],
)
def test_files_are_read_however_they_are_listed(tmp_path, given) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        path.write_bytes(png(number))
    source = as_source(given(paths))
    assert type(source) is ItemSource
    assert list(source.read(0, 5)) == [png(number) for number in range(5)]
    assert source.name(3) == f"image 3 ({paths[3]})"


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS[..., :1], PIXELS[..., 0]])
def test_pixels_one_by_one_are_those_of_the_array(pixels) -> None:
    together, alone = as_source(pixels), as_source(list(pixels))
    assert (type(together), type(alone)) == (ArraySource, ItemSource)
    for one, other in zip(together.read(0, 5), alone.read(0, 5), strict=True):
        np.testing.assert_array_equal(one, other)
        assert other.flags.c_contiguous


def test_what_is_missing_fails_alone(tmp_path) -> None:
    given = [
        b"x",
        None,
        float("nan"),
        pd.NA,
        tmp_path / "nowhere.png",
        "a\0b",
        bytearray(b"y"),
        memoryview(b"z"),
    ]
    found = list(as_source(given).read(0, 8))
    assert [found[0], *found[6:]] == [b"x", b"y", b"z"]
    assert [type(content) for content in found[1:6]] == [Unreadable] * 5
    assert [content.error for content in found[1:6]] == ["MissingImage"] * 3 + [
        "FileNotFoundError",
        "ValueError",
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("photos", "list of them"),
        (Path("photos"), "list of them"),
        (b"\xff\xd8", "list of them"),
        ([], "at least one"),
        (PIXELS[:0], "at least one"),
        (PIXELS.astype(float), "convert it to uint8"),
        (PIXELS[0], "array[None]"),
        (np.zeros((3, 4)), "rows.reshape(-1, height, width, 3)"),
        (np.zeros(4), "which are no images"),
        (pd.DataFrame({"a": [1, 2], "b": [3, 4]}), "which are no images"),
        (np.array([b"abc"]), "drops zeros"),
        ({"a.png"}, "type set"),
        ([1], "image 0 is of type int"),
        ([b"x", [[1, 2]]], "image 1 is of type list"),
        ([PIXELS[0].astype(np.float32)], "dtype float32"),
        ([np.zeros((4, 4, 4), np.uint8)], "no alpha"),
        ([np.zeros((0, 4, 3), np.uint8)], "image 0 has shape (0, 4, 3)"),
        ([PIXELS], "image 0 has shape (5, 4, 6, 3)"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_an_error_that_says_what_to_give(given, message) -> None:
    with pytest.raises(SourceError, match=re.escape(message)):
        as_source(given)
