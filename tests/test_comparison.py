"""HOG and two networks by one SVM on images in folders, as a user runs it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import pool3
from pool3.errors import EvaluationError, MissingLibraryError, SourceError
from pool3.hog import check_hog, hog_rows
from pool3.sources import open_source
from tests.images import pixels, write_image
from tests.test_classify import DIGITS, save
from tests.test_cli import pool3 as command

ROOT = Path(__file__).parents[1]


def stripes(angle: int, seed: int) -> np.ndarray:
    """(32, 32, 3) uint8: stripes across (0) or along (1), or dots (2), on noise."""
    wave = np.sin(np.arange(32) * 0.8) * 60
    pattern = [wave[:, None] + np.zeros(32), wave + np.zeros((32, 1)), wave[:, None] * wave / 60][angle]
    return np.clip(pixels(32, 32, seed) * 0.5 + 70 + pattern[..., None], 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cifar")
    for split, count in (("train", 10), ("test", 5)):
        for number, name in enumerate(("across", "along", "dots")):
            for image in range(count):
                seed = 100 * number + image + (50 if split == "test" else 0)
                write_image(folder / split / name / f"{image:04}.jpg", stripes(number, seed))
    (folder / "train" / "dots" / "0003.jpg").write_bytes(b"\xff\xd8\xff broken")
    return folder


@pytest.mark.slow
def test_the_table(data, tmp_path) -> None:
    arguments = [
        "cifar10-lite",
        "--data",
        data,
        "--weights",
        "random:0",
        "--folds",
        2,
        "-o",
        tmp_path / "out",
    ]
    done = command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    lines = result["lines"]
    assert [(line["features"], line["kernel"], line["grid"] is not None) for line in lines] == [
        ("HOG", "linear", False), ("HOG", "linear", True), ("HOG", "rbf", True),
        ("efficientnet_lite0 pool", "linear", False), ("efficientnet_lite0 pool", "linear", True),
        ("inception_v3 pool_3", "linear", False), ("inception_v3 pool_3", "linear", True),
    ]  # fmt: skip
    for line in lines:
        assert (line["n_train"], line["n_test"]) == (29, 15)
        assert line["C"] == 0.1 or line["grid"]
        assert line["embed_seconds"] > 0
        assert line["images_per_second"] > 0
    assert lines[0]["accuracy"] > 0.8
    assert [line["blog_accuracy"] for line in lines] == [0.59] * 3 + [None] * 4
    assert [extraction["failures"] for extraction in result["extractions"]] == [1, 0, 1, 0]
    again = command(*arguments)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("complete already") == 4
    for part in (
        "HOG",
        "rbf, best of 3",
        "inception_v3 pool_3 (random:0)",
        "29 images",
        "0.8741",
        f"{lines[0]['accuracy']:.4f}",
    ):
        assert part in again.stdout


def test_without_weights_it_says_what_is_missing(data, tmp_path) -> None:
    arguments = [
        "cifar10-lite",
        "--data",
        data,
        "--limit",
        12,
        "--folds",
        2,
        "--output-dir",
        tmp_path / "out",
    ]
    done = command(*arguments, POOL3_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert "inception_v3 pool_3" not in done.stdout
    for part in (
        "no line of pool_3: pt_inception-2015-12-05-6726825d.pth",
        "--weights PATH",
        "weights fetch",
    ):
        assert part in done.stdout
    assert "trained on 12 images, tested on 12" in done.stdout or "trained on 11 images" in done.stdout
    named = command(*arguments, "--weights", tmp_path / "nowhere.pth")
    assert named.returncode == 1
    assert "nowhere.pth" in named.stderr


@pytest.mark.parametrize(("folders", "said"), [(("train",), "no image among"), ((), "has no folder train")])
def test_data_of_another_form_is_refused_first(tmp_path, folders, said) -> None:
    for folder in folders:
        (tmp_path / "data" / folder).mkdir(parents=True)
    done = command("cifar10-lite", "--data", tmp_path / "data", "--output-dir", tmp_path / "out")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert said in done.stderr


def test_make_passes_its_variables_on(tmp_path) -> None:
    make = ["make", "--dry-run", "cifar10-lite", f"DATA={tmp_path}", "WEIGHTS=my weights.pth", "OUT=there"]
    shown = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"cifar10-lite --data '{tmp_path}' --output-dir there --weights 'my weights.pth'" in shown
    assert "[hog,intelex]" in shown or "pip" not in shown


@pytest.fixture(scope="module")
def extracted(data, tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("hog")
    shutil.copytree(data / "train", folder / "train")
    settings = {"backbone": "efficientnet_lite0", "devices": "cpu"}
    return folder / "train", pool3.extract(folder / "train", folder / "x.h5", **settings).output


def test_hog_is_scikit_images_of_the_rows_that_there_are(extracted) -> None:
    from skimage.feature import hog

    folder, path = extracted
    with pool3.open_features(path) as file:
        found = hog_rows(open_source(folder), file)
        assert found.rows.shape == (29, 324)
        for row, id_ in zip(found.rows, file.ids, strict=True):
            image = tf.io.decode_jpeg((folder / id_).read_bytes()).numpy()
            expected = hog(
                image, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2), block_norm="L2-Hys",
                channel_axis=-1,
            )  # fmt: skip
            np.testing.assert_allclose(row, expected, rtol=1e-6)


def test_hog_of_an_image_that_changed_is_refused(extracted, tmp_path) -> None:
    folder, path = extracted
    shutil.copytree(folder, tmp_path / "train")
    write_image(tmp_path / "train" / "along" / "0002.jpg", stripes(0, 0))
    with (
        pool3.open_features(path) as file,
        pytest.raises(SourceError, match=r"along/0002\.jpg is not the image any more"),
    ):
        hog_rows(open_source(tmp_path / "train"), file)


@pytest.mark.parametrize(("sizes", "message"), [((32, 40), "40×40 pixels and"), ((8, 8), "at least 16×16")])
def test_hog_needs_images_of_one_size(tmp_path, sizes, message) -> None:
    for number, size in enumerate(sizes):
        write_image(tmp_path / "images" / f"{number}.png", pixels(size, size))
    extractor = pool3.Extractor(pool3.ExtractSpec(backbone="efficientnet_lite0", devices="cpu"))
    path = extractor.extract(tmp_path / "images", tmp_path / "x.h5").output
    with pool3.open_features(path) as file, pytest.raises(EvaluationError, match=message):
        hog_rows(open_source(tmp_path / "images"), file)


def test_hog_without_scikit_image_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(MissingLibraryError, match=r"pool3\[hog\]"):
        check_hog()


def test_evaluate_is_what_classify_does(tmp_path) -> None:
    """Arrays and files go through one classifier."""
    from pool3.classify import classify, settings
    from pool3.classify.backends import choose
    from pool3.classify.data import labelled
    from pool3.classify.evaluating import evaluate
    from tests.test_classify import digits

    features, labels = digits()
    train = save(tmp_path / "train.h5", features[:600], labels[:600], DIGITS)
    test = save(tmp_path / "test.h5", features[600:900], labels[600:900], DIGITS)
    grid = {"C": [0.001, 0.1]}
    whole = classify(train, test, grid=grid, folds=3, backend="sklearn")
    with pool3.open_features(train) as one, pool3.open_features(test) as other:
        part, _ = evaluate(
            labelled(one),
            labelled(other),
            settings("svc", "linear"),
            choose("sklearn", "svc"),
            grid=grid,
            folds=3,
        )
    np.testing.assert_array_equal(whole.predictions, part.predictions)
    assert [point.mean for point in whole.grid.points] == [point.mean for point in part.grid.points]
