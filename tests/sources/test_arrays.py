import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pool3.errors import SourceError, SpecError
from pool3.sources import ArraySource, Source, open_source
from tests.sources.builders import Runs

RNG = np.random.default_rng(2)
PIXELS = RNG.integers(0, 256, (12, 5, 7, 3), np.uint8)


def all_of(source: Source) -> np.ndarray:
    return np.stack(list(source.read(0, len(source))))  # type: ignore[arg-type]


def test_array_is_kept_not_copied() -> None:
    source = open_source(PIXELS)
    assert isinstance(source, ArraySource)
    assert source.ids[0] == "array/00"
    assert source.ids[-1] == "array/11"
    assert source.description == "array"
    assert all(np.shares_memory(image, PIXELS) for image in source.read(0, 12))
    np.testing.assert_array_equal(all_of(source), PIXELS)


def test_strided_arrays_come_contiguous() -> None:
    flipped = PIXELS[:, ::-1, ::-1]
    np.testing.assert_array_equal(all_of(open_source(flipped)), flipped)
    assert all(image.flags.c_contiguous for image in open_source(flipped).read(0, 12))  # type: ignore[union-attr]


def test_grey_is_repeated() -> None:
    expected = np.repeat(PIXELS[..., :1], 3, axis=3)
    np.testing.assert_array_equal(all_of(open_source(PIXELS[..., 0])), expected)
    np.testing.assert_array_equal(all_of(open_source(PIXELS[..., :1])), expected)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (PIXELS.astype(np.float32), "float32.* convert it to uint8"),
        (PIXELS.astype(np.int8), "convert it to uint8"),
        (PIXELS[0], "single image needs a leading axis"),
        (PIXELS[0, :, 0], "bring it to"),
        (np.zeros((2, 5, 7, 4), np.uint8), "alpha"),
        (np.zeros((2, 3, 5, 7), np.uint8), "move its channels"),
        (np.zeros((2, 5, 7, 2), np.uint8), "bring it to"),
        (np.zeros((2, 2, 5, 7, 3), np.uint8), "bring it to"),
        (np.zeros((0, 5, 7, 3), np.uint8), "no pixels"),
        (np.zeros((2, 0, 7, 3), np.uint8), "no pixels"),
        (np.zeros((), np.uint8), "bring it to"),
        (np.array([None, "x"]), "object.* convert it"),
    ],
)
def test_other_arrays_are_refused_with_the_way_out(tmp_path: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(array)
    if array.dtype != object and array.size and array.ndim:
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(SourceError, match=message):
            open_source(tmp_path / "x.npy")
        np.savez(tmp_path / "x.npz", images=array)
        with pytest.raises(SourceError, match=message):
            open_source(tmp_path / "x.npz")


def test_labels() -> None:
    source = open_source(PIXELS, labels=["b", "a"] * 6)
    assert (source.labels[:2].tolist(), source.label_names) == ([1, 0], ("a", "b"))
    source = ArraySource(PIXELS, labels=[2, 0] * 6, label_names=["x", "y", "z"])
    assert (source.labels[:2].tolist(), source.label_names) == ([2, 0], ("x", "y", "z"))
    with pytest.raises(SourceError, match="label 3"):
        ArraySource(PIXELS, labels=[3] * 12, label_names=["x", "y", "z"])
    with pytest.raises(SourceError, match="shape"):
        open_source(PIXELS, labels=[1, 2])
    with pytest.raises(SpecError, match="array"):
        open_source([PIXELS, PIXELS], labels=[0] * 24)
    with pytest.raises(SpecError, match="array"):
        open_source(open_source(PIXELS), labels=[0] * 12)


def test_npy_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "big.npy"
    shape = (40_000, 299, 299, 3)  # 10.7 GB, all but 100 bytes of it a hole in the file
    mapped = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    mapped[-1, -1, -1] = 7
    mapped.flush()
    source = open_source(path)
    (last,) = source.read(39_999, 40_000)
    assert isinstance(last, np.ndarray)
    assert last[-1, -1].tolist() == [7, 7, 7]
    assert not np.shares_memory(last, mapped)
    assert source.ids[-1] == "big.npy/39999"
    assert source.location == tmp_path


def test_npy_in_fortran_order(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.asfortranarray(PIXELS))
    np.testing.assert_array_equal(all_of(open_source(tmp_path / "x.npy")), PIXELS)


def test_npy_labels_beside_it_or_given(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PIXELS)
    assert open_source(tmp_path / "x.npy").label_names == ()
    np.save(tmp_path / "x.labels.npy", np.array(["cat", "dog"] * 6))
    assert open_source(str(tmp_path / "x.npy")).label_names == ("cat", "dog")
    assert open_source([tmp_path / "x.npy"], labels=[5] * 12).label_names == ("5",)
    np.save(tmp_path / "x.labels.npy", np.arange(3))
    with pytest.raises(SourceError, match="12 images"):
        open_source(tmp_path / "x.npy")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_keys(tmp_path: Path, save: object) -> None:
    path = tmp_path / "x.npz"
    labels = np.arange(12) % 4
    other = np.zeros((2, 2, 2, 3), np.uint8)
    for arrays, label_count in (
        ({"images": PIXELS, "other": other, "labels": labels}, 4),
        ({"x": PIXELS, "data": other, "y": labels}, 4),
        ({"data": PIXELS, "other": other}, 0),
        ({"anything": PIXELS, "weights": np.ones((3, 3)), "y": labels}, 4),
        ({"anything": PIXELS}, 0),
    ):
        save(path, **arrays)  # type: ignore[operator]
        source = open_source(path)
        np.testing.assert_array_equal(all_of(source), PIXELS)
        assert len(source.label_names) == label_count
        assert source.ids[3] == "x.npz/03"
    assert open_source(path, labels=["z"] * 12).label_names == ("z",)


def test_npz_of_grey_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", digits=PIXELS[..., 0], labels=np.arange(12))
    assert open_source(tmp_path / "x.npz").image_shape == (5, 7)


@pytest.mark.parametrize("arrays", [{"a": PIXELS, "b": PIXELS}, {"a": np.ones(3)}, {"labels": PIXELS}, {}])
def test_npz_without_clear_images(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="name the array of images images, x or data"):
        open_source(tmp_path / "x.npz")


def test_pickles_in_arrays_are_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    hostile = np.array([Runs(Path.touch, mark)], object)
    np.save(tmp_path / "x.npy", hostile, allow_pickle=True)
    np.savez(tmp_path / "x.npz", images=hostile)
    np.savez(tmp_path / "y.npz", images=PIXELS, labels=np.array([Runs(Path.touch, mark)] * 12, object))
    (tmp_path / "z.npy").write_bytes(pickle.dumps(Runs(Path.touch, mark)))
    for name in ("x.npy", "x.npz", "y.npz", "z.npy"):
        with pytest.raises(SourceError):
            open_source(tmp_path / name)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_damaged_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "x.npy":
        np.save(path, PIXELS)
    else:
        np.savez_compressed(path, images=PIXELS)
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:-1], b"PK\x03\x04" + whole[4:100]):
        path.write_bytes(content)
        with pytest.raises(SourceError, match="cannot be read"):
            open_source(path)


def test_a_header_that_claims_more_than_there_is(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 299, 299, 3)}
    )
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue() + b"\0" * 100)
    with pytest.raises(SourceError, match="header calls for"):
        open_source(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "header", [b"{'descr': '|u1', 'shape': (", b"{'descr': 'u1\n", b"[]", b"{'descr': 3}", b"\0", b"9" * 50]
)
def test_headers_that_are_no_headers(tmp_path: Path, header: bytes) -> None:
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + PIXELS.tobytes()
    (tmp_path / "x.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("images.npy", content)
    for name in ("x.npy", "x.npz"):
        with pytest.raises(SourceError, match="cannot be read"):
            open_source(tmp_path / name)
