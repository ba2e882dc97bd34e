import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pool3.errors import SourceError, SourceNotFoundError, SpecError
from pool3.sources import open_source
from tests.sources.builders import write_tree


def test_digits() -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    source = open_source("sklearn:digits")
    assert len(source) == 1797
    assert (source.ids[0], source.ids[-1]) == ("digits/0000", "digits/1796")
    assert source.label_names == tuple("0123456789")
    np.testing.assert_array_equal(source.labels, bunch.target)
    assert source.description == "sklearn:digits"
    images = np.stack(list(source.read(0, 1797)))  # type: ignore[arg-type]
    assert (images.min(), images.max()) == (0, 255)
    np.testing.assert_array_equal(images[..., 0], images[..., 2])
    expected = [round(255 - value * 255 / 16) for value in bunch.images[5].ravel()]
    assert images.shape == (1797, 12, 12, 3)
    assert images[5, 2:-2, 2:-2, 1].ravel().tolist() == expected
    margin = np.ones((12, 12), bool)
    margin[2:-2, 2:-2] = False
    assert (images[:, margin] == 255).all()


def test_an_empty_name_is_not_the_current_folder() -> None:
    with pytest.raises(SourceNotFoundError, match="empty name"):
        open_source("")


@pytest.mark.parametrize("name", ["missing", "missing.png", "sklearn:faces", "https://example.org/x.png"])
def test_what_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceNotFoundError, match=r"(does not exist.*glob has to be quoted)|no image among"):
        open_source(name)


def test_a_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.png").symlink_to("nothing")
    with pytest.raises(SourceNotFoundError, match="mend the link"):
        open_source(tmp_path / "x.png")
    with pytest.raises(SourceNotFoundError, match="mend the link"):
        open_source([tmp_path / "x.png", tmp_path / "x.png"])


@pytest.mark.parametrize("name", ["film.mp4", "noext", "x.jpg.part", "data_batch_6", "x.tiff", "x.gz"])
def test_files_of_no_known_kind(tmp_path: Path, name: str) -> None:
    write_tree(tmp_path, {name: b"x"})
    with pytest.raises(
        SourceError, match=r"no kind that pool3 reads: give .*\.webp.*\.npz.*\.tgz.*sklearn:digits"
    ):
        open_source(tmp_path / name)
    write_tree(tmp_path, {"1.png": b"", "2.png": b""})
    with pytest.raises(SourceError, match="no kind that pool3 reads"):
        open_source([tmp_path / "1.png", tmp_path / "2.png", tmp_path / name])


def test_things_that_are_no_source() -> None:
    with pytest.raises(SourceError, match="type int"):
        open_source([1, 2])  # type: ignore[list-item]


def test_labels_go_with_arrays_only(tmp_path: Path) -> None:
    write_tree(tmp_path, {"1.png": b""})
    for source in (tmp_path, tmp_path / "1.png", f"{tmp_path}/*", "sklearn:digits"):
        with pytest.raises(SpecError, match="labels were given for"):
            open_source(source, labels=[0])


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, pool3.sources as s; s.open_source('sklearn:digits') if 'late' in sys.argv else None;"
        "print(*{'tensorflow', 'sklearn', 'scipy', 'h5py', 'PIL'} & set(sys.modules))"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.split() == []
    late = subprocess.run([sys.executable, "-c", code, "late"], capture_output=True, text=True, check=True)
    assert "sklearn" in late.stdout
    assert "tensorflow" not in late.stdout
