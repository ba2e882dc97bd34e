"""Verification against a source: the same images, unchanged, and features that come out again."""

import json
import shutil
import subprocess
import sys
from math import inf
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import pool3
from pool3.backbones import get_backbone
from pool3.errors import SourceNotFoundError, SpecError, StoreNotFoundError
from pool3.sources import ArraySource, Source, Unreadable, open_source
from pool3.store import merge_features
from pool3.verification import difference
from pool3.weights import load_weights
from pool3.weights.native import write_native
from tests.images import pixels, write_folder, write_image
from tests.store.tampering import change, find, flip
from tests.test_cli import pool3 as command

SPEC: dict[str, Any] = {
    "backbone": "efficientnet_lite0",
    "devices": "cpu",
    "batch_size": 4,
    "precision": "float32",
}
SOURCE_CHECKS = ["source ids", "source labels", "source manifest", "images", "weights", "features"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with ``photos``, twelve images of which one is broken, and ``out.h5``."""
    folder = tmp_path_factory.mktemp("made")
    paths = write_folder(folder / "photos", 12)
    paths[4].write_bytes(b"broken")
    pool3.extract(folder / "photos", folder / "out.h5", **SPEC)
    return folder


@pytest.fixture
def here(made, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def verify(folder: Path, source: Any = None, **settings: Any) -> pool3.Verification:
    return pool3.verify(
        folder / "out.h5", folder / "photos" if source is None else source, devices="cpu", **settings
    )


def failed(result: pool3.Verification) -> dict[str, str]:
    """Check → detail, of those that fail."""
    return {check.name: check.detail for check in result.checks if not check.ok}


def detail(result: pool3.Verification, name: str) -> str:
    (found,) = (check.detail for check in result.checks if check.name == name)
    return found


def test_what_was_extracted_passes(made) -> None:
    tasks = []

    class Watch:
        def __init__(self, task: str, _unit: str) -> None:
            self.task = task

        def __enter__(self) -> Any:
            return lambda done, total: tasks.append((self.task, done, total))

        def __exit__(self, *_: object) -> None:
            tasks.append((self.task, "ended"))

    result = verify(made, watch=Watch)
    assert failed(result) == {}
    assert result.ok
    assert [check.name for check in result.checks][-6:] == SOURCE_CHECKS
    assert detail(result, "images").startswith("11 read")
    features = detail(result, "features")
    assert features.startswith(
        "11 of 11 rows computed anew (seed 0), 11 equal bit for bit; largest difference 0 "
    )
    assert "bound of 1e-05 (float32, stored as float32)" in features
    assert tasks[:2] == [("checking", 11, 11), ("checking", "ended")]
    assert ("reading", 11, 11) in tasks
    assert [step for step in tasks if step[0] == "computing"] == [
        ("computing", 11, 11),
        ("computing", "ended"),
    ]
    assert json.loads(json.dumps(result.to_dict()))["ok"] is True
    assert "passed 17 checks" in result.summary


def test_images_that_changed_are_named_and_the_others_compared(here) -> None:
    """One changed, one gone, one more between the others, one that was broken and is whole by now."""
    photos = here / "photos"
    paths = sorted(photos.rglob("*.png"))
    write_image(paths[2], pixels(9, 9, 77))
    write_image(paths[4], pixels(9, 9, 78))
    paths[7].unlink()
    write_image(photos / "b" / "0000.png", pixels(9, 9, 79))
    result = verify(here)
    found = failed(result)
    gone, changed = (path.relative_to(photos).as_posix() for path in (paths[7], paths[2]))
    assert found.pop("source ids") == f"1 not in the source: {gone}; 1 in the source alone: b/0000.png"
    assert found.pop("images") == f"1 changed: {changed}"
    assert list(found) == ["source manifest"]
    assert detail(result, "source labels") == "those of 10 rows are the same"
    assert detail(result, "features").startswith("9 of 11 rows computed anew (seed 0), 9 equal bit for bit")
    assert "failed 3 of 17 checks (source ids, source manifest, images)" in result.summary


def test_many_missing_images_are_counted(here) -> None:
    shutil.rmtree(here / "photos" / "a")
    found = failed(verify(here, sample=0))
    names = ", ".join(f"a/{i:04}.png" for i in (0, 2, 4, 6, 8))
    assert found["source ids"] == f"6 not in the source: {names} and 1 more"


def test_nothing_is_left_of_the_source(here) -> None:
    write_image(here / "other" / "x.png", pixels(9, 9))
    found = failed(verify(here, here / "other"))
    assert found["source ids"].startswith("12 not in the source: ")
    assert found["source ids"].endswith("1 in the source alone: x.png")
    assert found["features"] == "no image is what it was, so that none was computed anew"


def test_another_order_is_found(made) -> None:
    class Turned(Source):
        """The images of the folder, two of them in each other's place."""

        def __init__(self) -> None:
            self._inner = open_source(made / "photos")
            self._order = [0, 1, 2, 6, 4, 5, 3, 7, 8, 9, 10, 11]
            self.description, self.image_shape = "turned", None
            self.ids = [self._inner.ids[i] for i in self._order]
            self.labels = self._inner.labels[self._order]
            self.label_names = self._inner.label_names

        def read(self, start: int, stop: int) -> Any:
            for i in self._order[start:stop]:
                yield from self._inner.read(i, i + 1)

    found = failed(verify(made, Turned(), sample=0))
    assert found == {
        "source ids": "in another order from a/0008.png on",
        "source manifest": found["source manifest"],
    }


def test_images_that_cannot_be_read_are_named(made) -> None:
    class Half(Source):
        """The images of the folder, every other one out of reach."""

        def __init__(self) -> None:
            self._inner = open_source(made / "photos")
            for name in ("description", "ids", "labels", "label_names", "image_shape"):
                setattr(self, name, getattr(self._inner, name))

        def read(self, start: int, stop: int) -> Any:
            for i, content in zip(range(start, stop), self._inner.read(start, stop), strict=True):
                yield Unreadable("PermissionError", "Permission denied") if i % 2 else content

    result = verify(made, Half())
    assert failed(result)["images"].startswith("6 cannot be read: a/0002.png (Permission denied), ")
    assert detail(result, "features").startswith("5 of 11 rows")


@pytest.fixture(scope="module")
def arrays(tmp_path_factory) -> tuple[Path, np.ndarray]:
    """Six images in memory and ``out.h5``, in which they have the labels x, y and none."""
    folder = tmp_path_factory.mktemp("arrays")
    images = np.stack([pixels(12, 12, seed) for seed in range(6)])
    source = ArraySource(images, labels=["x", "y", "x", "y", "x", "y"])
    pool3.extract(source, folder / "out.h5", **SPEC, storage="float16")
    return folder, images


def test_a_label_that_changed_is_named(arrays) -> None:
    folder, images = arrays
    ids = open_source(images).ids
    found = failed(verify(folder, ArraySource(images, labels=["x", "z", "x", "y", "y", "y"]), sample=0))
    assert found["source labels"] == f"2 changed: {ids[1]} (y → z), {ids[4]} (x → y)"
    found = failed(verify(folder, images, sample=0))
    assert found["source labels"].startswith(f"6 changed: {ids[0]} (x → none), ")
    assert set(found) == {"source labels", "source manifest"}


def test_features_stored_as_float16_pass(arrays) -> None:
    folder, images = arrays
    result = verify(folder, ArraySource(images, labels=["x", "y"] * 3))
    assert failed(result) == {}
    features = detail(result, "features")
    assert features.startswith(
        "6 of 6 rows computed anew (seed 0), 6 equal bit for bit; largest difference 0.0"
    )
    assert "bound of 0.0005 (float32, stored as float16)" in features


def test_a_longer_source_is_one_of_which_the_first_were_taken(made, tmp_path) -> None:
    pool3.extract(made / "photos", tmp_path / "out.h5", limit=5, **SPEC)
    result = verify(tmp_path, made / "photos", sample=0)
    assert failed(result) == {}
    assert detail(result, "source ids") == "all 5 images are there, in order; 7 after them were left out"


def test_a_forged_feature_is_found(here) -> None:
    """All digests fit: only the network can tell."""
    output = here / "out.h5"

    def forge(row: int, by: float) -> None:
        def edit(file: Any) -> None:
            values = file["features"][row]
            values[np.abs(values).argmax()] *= 1 + by
            file["features"][row] = values

        change(output, edit)

    forge(3, 5e-6)
    result = verify(here)
    assert failed(result) == {}
    features = detail(result, "features")
    assert "10 equal bit for bit; largest difference 5e-06 (a/0006.png)" in features
    forge(10, 1e-4)
    found = failed(verify(here, seed=5))
    assert list(found) == ["features"]
    assert "(seed 5), 9 equal bit for bit; 1 differ by more than the bound of 1e-05" in found["features"]
    assert "b/0011.png (0.0001)" in found["features"]
    assert "made on CPU" in found["features"]


def test_the_sample_is_seeded(here) -> None:
    """The difference that one row has is seen by those samples that hold it."""

    def edit(file: Any) -> None:
        file["features"][5] = file["features"][4]

    change(here / "out.h5", edit)
    rows = np.arange(11)
    for seed in (0, 1):
        chosen = np.random.default_rng(seed).choice(rows, 4, replace=False)
        result = verify(here, sample=4, seed=seed)
        assert detail(result, "features").startswith(f"4 of 11 rows computed anew (seed {seed})")
        assert result.ok == (5 not in chosen), seed


def test_a_damaged_file_is_compared_as_far_as_it_goes(here) -> None:
    output = here / "out.h5"
    with h5py.File(output) as file:
        features = file["features"].id.get_chunk_info(0).byte_offset
        labels = file["labels"].id.get_chunk_info(0).byte_offset
    flip(output, features)
    found = failed(verify(here))
    assert set(found) == {"checksums", "digests", "features"}
    assert "rows 0 to 11 of /features" in found["features"]
    flip(output, find(output, b"b/0011.png"))
    found = failed(verify(here))
    assert set(found) == {"checksums", "digests", "source"}
    assert "ids do not have their recorded digest" in found["source"]
    flip(output, labels)
    assert "is damaged (labels)" in failed(verify(here))["source"]


def test_other_weights_are_found(made) -> None:
    found = failed(verify(made, weights="random:5"))
    assert list(found) == ["weights"]
    assert found["weights"].startswith("those of random:5 are ")
    found = failed(verify(made, weights="nowhere.pth"))
    assert "no weights 'nowhere.pth'" in found["weights"]


def test_weights_of_the_users_own_have_to_be_given(tmp_path) -> None:
    backbone = get_backbone("efficientnet_lite0")
    path = tmp_path / "mine.h5"
    write_native(path, load_weights(backbone, "random:3"), backbone)
    images = np.stack([pixels(12, 12, seed) for seed in range(3)])
    pool3.extract(images, tmp_path / "out.h5", weights=str(path), **SPEC)
    assert "--weights PATH" in failed(verify(tmp_path, images))["weights"]
    assert failed(verify(tmp_path, images, sample=0)) == {}
    result = verify(tmp_path, images, weights=str(path))
    assert failed(result) == {}
    assert "3 equal bit for bit" in detail(result, "features")


@pytest.mark.parametrize(
    ("name", "value", "check", "said"),
    [
        ("backbone", "resnet", "weights", "resnet"),
        ("precision", "int4", "weights", "int4"),
        ("feature", "head", "features", "another width"),
        ("weights", "/dev/zero", "weights", "--weights PATH"),
    ],
)
def test_settings_that_pool3_does_not_have(here, name, value, check, said) -> None:
    change(here / "out.h5", lambda file: file.attrs.__setitem__(name, value))
    found = failed(verify(here))
    assert list(found) == [check]
    assert said in found[check]


@pytest.mark.parametrize("virtual", [False, True])
def test_a_merged_file_is_compared_with_all_its_sources(tmp_path, virtual) -> None:
    for name in ("one", "two"):
        write_folder(tmp_path / name, 3 if name == "one" else 4, size=10 if name == "one" else 20)
        pool3.extract(tmp_path / name, tmp_path / f"{name}.h5", **SPEC)
    parts = [tmp_path / "one.h5", tmp_path / "two.h5"]
    merge_features(parts, tmp_path / "out.h5", virtual=virtual, prefix_ids=True)
    result = verify(tmp_path, [tmp_path / "one", tmp_path / "two"], sample=64 if virtual else 0)
    assert failed(result) == {}
    assert "source manifest" not in [check.name for check in result.checks]
    if virtual:
        assert "7 equal bit for bit" in detail(result, "features")
    found = failed(verify(tmp_path, [tmp_path / "two", tmp_path / "one"], sample=0))
    assert list(found) == ["source ids"]
    assert "another order" in found["source ids"]


def test_no_rows(tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "x.jpg").write_bytes(b"broken")
    pool3.extract(tmp_path / "photos", tmp_path / "out.h5", **SPEC)
    result = verify(tmp_path)
    assert failed(result) == {}
    assert result.checks[-1].name == "images"


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"sample": -1}, SpecError),
        ({"seed": -1}, SpecError),
        ({"source": None, "weights": "random:1"}, SpecError),
        ({"devices": "tpu"}, SpecError),
        ({"source": "nowhere"}, SourceNotFoundError),
        ({"path": "nowhere.h5"}, StoreNotFoundError),
    ],
)
def test_bad_settings_are_errors(made, settings, error) -> None:
    with pytest.raises(error):
        pool3.verify(**({"path": made / "out.h5", "source": made / "photos"} | settings))


def test_the_difference_of_rows() -> None:
    old = np.array([[1, -4], [0, 0], [0, 0], [np.nan, 1], [2, 2], [8, np.inf]], np.float32)
    new = np.array([[1, -3], [0, 0], [0, 1e-9], [1, 1], [2, np.nan], [8, 1]], np.float32)
    assert difference(new, old) == [0.25, 0.0, inf, inf, inf, inf]
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(200, 64)).astype(np.float32)
    assert 1e-4 < max(difference(exact, exact.astype(np.float16))) <= 2.0**-11


def test_the_command_line(here) -> None:
    """With a source: everything is fine, then one image changes."""
    arguments = ("verify", "out.h5", "--source", "photos", "--devices", "cpu")
    done = command(*arguments, "--sample", 2, "--seed", 7, cwd=here)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line[:2] for line in lines] == ["ok"] * 17
    assert len({line.index(line.split(maxsplit=2)[1]) for line in lines}) == 1
    assert "2 of 11 rows computed anew (seed 7), 2 equal bit for bit" in lines[-1]
    # Progress, and nothing else.
    assert [line for line in done.stderr.splitlines() if not line.startswith("pool3: ")] == []
    write_image(here / "photos" / "a" / "0002.png", pixels(9, 9, 77))
    done = command(*arguments, "--sample", 0, "--json", cwd=here)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("pool3: out.h5 failed 1 of 15 checks (images): ")
    result = json.loads(done.stdout)
    assert result["ok"] is False
    assert [check["name"] for check in result["checks"] if not check["ok"]] == ["images"]


def test_the_command_line_on_damage(here) -> None:
    """One line a check, whatever the file says; TensorFlow stays out of it."""
    code = (
        "import sys; sys.argv = ['pool3', 'verify', *sys.argv[1:]]\n"
        "from pool3.cli import main\n"
        "try: main()\n"
        "finally: assert 'tensorflow' not in sys.modules"
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=here, check=False
        )

    assert run("out.h5").returncode == 0
    assert run("out.h5", "--source", "photos", "--sample", "0").returncode == 0
    change(here / "out.h5", lambda file: file.attrs.__setitem__("sealed", "\x1b[2J\nno"), reseal=False)
    done = run("out.h5")
    assert done.returncode == 1
    assert done.stderr == (
        "pool3: out.h5 failed 2 of 11 checks (attributes, fingerprint): "
        "restore what is damaged or changed, or extract it again\n"
    )
    assert len(done.stdout.splitlines()) == 11
    assert "\x1b" not in done.stdout
    assert done.stdout.splitlines()[1].startswith("FAILED  attributes ")
    (here / "out.h5").write_bytes(b"no HDF5")
    done = run("out.h5", "--source", "photos", "--sample", "0")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[0].startswith("FAILED  file    no HDF5 file")
    done = run("nowhere.h5")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pool3: there is no feature file nowhere.h5\n"
    assert run("out.h5", "--sample", "-1").returncode == 2
