"""`ImageFeatures` in scikit-learn's own tools, and beside `pool3.extract`."""

import pickle
import re
import subprocess
import sys
import threading
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_array

import pool3
from pool3.backbones import get_backbone
from pool3.errors import SourceError, SpecError, WeightsError
from pool3.sklearn import ImageFeatures, networks
from pool3.sources import as_source
from pool3.spec import ExtractSpec
from pool3.weights import load_weights
from pool3.weights.native import write_native
from tests.images import pixels, write_folder

ROOT = Path(__file__).parents[1]
LITE = {"backbone": "efficientnet_lite0", "devices": "cpu"}
IMAGES = np.stack([pixels(20, 24, seed) for seed in range(11)])


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Path]:
    return write_folder(tmp_path_factory.mktemp("photos"), 19)


@pytest.fixture(scope="module")
def rows(photos) -> np.ndarray:
    return ImageFeatures(**LITE).fit_transform(photos)


class OfNumbers(ImageFeatures):
    """Takes each row of a table of numbers, which is all that scikit-learn's checks have, for a grey image."""

    def _source(self, X):  # noqa: N803
        return as_source([np.clip(np.abs(row)[None] * 40, 0, 255).astype(np.uint8) for row in check_array(X)])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        given = tags.input_tags
        given.two_d_array, given.one_d_array, given.three_d_array, given.string = True, False, False, False
        return tags


@parametrize_with_checks(
    [OfNumbers(**LITE)],
    expected_failed_checks=lambda _: {
        "check_transformer_general": "its last part wants a refusal where transform gets other columns than fit: "
        "images have none, and those of a transform may be of any size"
    },
)
def test_scikit_learns_own_checks(estimator, check) -> None:
    check(estimator)


@pytest.mark.parametrize("settings", [{}, {"batch_size": 3, "resize": "bilinear", "feature": "softmax"}])
def test_rows_are_those_of_a_feature_file(photos, tmp_path, settings) -> None:
    pool3.extract(photos[0].parents[1], tmp_path / "files.h5", precision="float32", **LITE, **settings)
    pool3.extract(IMAGES, tmp_path / "arrays.h5", precision="float32", **LITE, **settings)
    features = ImageFeatures(**LITE, **settings).fit(photos)
    with pool3.open_features(tmp_path / "files.h5") as file:
        np.testing.assert_array_equal(features.transform(photos), file.features[:])
        names = features.get_feature_names_out()
        assert (len(names), names[7]) == (file.features.shape[1], f"{settings.get('feature', 'pool')}_7")
        assert features.tensor_digest_ == file.provenance.tensor_digest
        assert features.weights_sha256_ == file.provenance.weights_sha256
    with pool3.open_features(tmp_path / "arrays.h5") as file:
        np.testing.assert_array_equal(features.transform(IMAGES), file.features[:])
        np.testing.assert_array_equal(features.transform(list(IMAGES)), file.features[:])


def test_a_row_is_the_same_alone_repeated_and_in_every_form(photos, rows) -> None:
    features = ImageFeatures(**LITE).fit(photos)
    assert (rows.shape, rows.dtype) == ((19, 1280), np.float32)
    np.testing.assert_array_equal(features.transform([photos[5]]), rows[5:6])
    order = [3, 3, 18, 0, 3]
    np.testing.assert_array_equal(features.transform([str(photos[i]) for i in order]), rows[order])
    mixed = [photos[0].read_bytes(), photos[1], str(photos[2])]
    np.testing.assert_array_equal(features.transform(pd.Series(mixed)), rows[:3])


def test_arguments_are_those_of_a_run_and_checked_when_they_are_used() -> None:
    expected = {field.name for field in fields(ExtractSpec)} - {"storage"} | {"errors"}
    assert set(ImageFeatures().get_params()) == expected
    assert all(
        ImageFeatures().get_params()[field.name] == field.default
        for field in fields(ExtractSpec)
        if field.name not in ("storage", "precision")
    )
    for wrong in ({"backbone": "resnet"}, {"feature": "pool_9"}, {"precision": "auto"}, {"errors": "ignore"}):
        features = clone(ImageFeatures(**LITE | wrong))
        with pytest.raises(SpecError):
            features.fit(IMAGES)
    with pytest.raises(NotFittedError):
        ImageFeatures(**LITE).transform(IMAGES)


def test_a_broken_image_is_named_or_nan_and_never_left_out(photos, rows, tmp_path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff rubbish")
    given = [photos[0], tmp_path / "broken.jpg", photos[1], tmp_path / "nowhere.jpg", None, b"", photos[2]]
    with pytest.raises(
        SourceError, match=r"4 of 7 images .*image 1 \(.*broken\.jpg\).*and 1 more; mend them"
    ):
        ImageFeatures(**LITE).fit_transform(given)
    with pytest.warns(
        UserWarning, match=r"4 of 7 images.*broken\.jpg.*nowhere\.jpg.*their rows are NaN"
    ) as told:
        found = ImageFeatures(**LITE, errors="nan").fit(given).transform(given)
    assert [warning.filename for warning in told if "rows are NaN" in str(warning.message)] == [__file__]
    assert np.isnan(found[[1, 3, 4, 5]]).all()
    np.testing.assert_array_equal(found[[0, 2, 6]], rows[:3])
    with pytest.warns(UserWarning, match="1 of 1"):
        assert np.isnan(ImageFeatures(**LITE, errors="nan").fit_transform([b""])).all()


def test_a_pickle_holds_no_network_and_works_elsewhere(photos, rows, tmp_path) -> None:
    pipeline = make_pipeline(ImageFeatures(**LITE), NearestCentroid())
    pipeline.fit(photos, [path.parent.name for path in photos])
    small = pickle.dumps(pipeline[0])
    assert len(small) < 1000
    (tmp_path / "pipeline.pickle").write_bytes(pickle.dumps(pipeline))
    code = (
        "import pickle, sys, pathlib\n"
        "pipeline = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "assert 'tensorflow' not in sys.modules\n"
        "sys.stdout.buffer.write(pipeline[0].transform(sys.argv[2:]).tobytes())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "pipeline.pickle"), *map(str, photos)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == rows.tobytes()


def test_other_weights_under_the_same_name_are_refused(tmp_path) -> None:
    backbone = get_backbone("efficientnet_lite0")
    path = tmp_path / "weights.h5"
    write_native(path, load_weights(backbone, "random:1"), backbone)
    features = ImageFeatures(**LITE, weights=str(path)).fit(IMAGES)
    before = features.transform(IMAGES[:2])
    path.unlink()
    write_native(path, load_weights(backbone, "random:2"), backbone)
    with pytest.raises(WeightsError, match="not those that this transformer was fitted with"):
        features.transform(IMAGES[:2])
    assert not np.array_equal(clone(features).fit_transform(IMAGES[:2]), before)


@pytest.fixture
def empty_cache(monkeypatch) -> None:
    monkeypatch.setattr(networks, "_kept", type(networks._kept)())


@pytest.fixture
def built(monkeypatch, empty_cache) -> list[ExtractSpec]:
    """The settings of the networks that were built."""
    made: list[ExtractSpec] = []
    plain = pool3.Extractor.__init__

    def counted(self, spec) -> None:
        made.append(spec)
        plain(self, spec)

    monkeypatch.setattr(pool3.Extractor, "__init__", counted)
    return made


def search(**settings) -> GridSearchCV:
    pipeline = make_pipeline(ImageFeatures(**LITE), LogisticRegression())
    grid = {"imagefeatures__resize": ["tf1-bilinear", "bilinear"], "logisticregression__C": [0.001, 1.0]}
    return GridSearchCV(pipeline, grid, cv=2, **settings)


@pytest.mark.slow
def test_a_search_builds_each_network_once_and_processes_agree(photos, built) -> None:
    labels = [path.parent.name for path in photos]
    one = search().fit(photos, labels)
    assert sorted(spec.resize for spec in built) == ["bilinear", "tf1-bilinear"]
    with_two = search(n_jobs=2).fit(photos, labels)
    for name in ("mean_test_score", "split0_test_score"):
        np.testing.assert_array_equal(one.cv_results_[name], with_two.cv_results_[name])
    assert one.predict(photos[:3]).tolist() == with_two.predict(photos[:3]).tolist()


def test_few_networks_are_kept(built) -> None:
    for seed in range(networks.MOST + 1):
        ImageFeatures(**LITE, weights=f"random:{seed}").fit(IMAGES)
    assert len(networks._kept) == networks.MOST
    ImageFeatures(**LITE, weights="random:4").fit(IMAGES)
    ImageFeatures(**LITE, weights="random:0").fit(IMAGES)
    assert [spec.weights for spec in built] == [f"random:{seed}" for seed in (0, 1, 2, 3, 4, 0)]


def test_threads_share_a_network(photos, rows, built) -> None:
    found: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        found[number] = ImageFeatures(**LITE).fit_transform(photos[number:])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        np.testing.assert_array_equal(found[number], rows[number:])
    assert len(built) == 1


def test_a_forked_process_is_refused_and_does_not_hang() -> None:
    code = (
        "import multiprocessing, numpy\n"
        "from pool3.sklearn import ImageFeatures\n"
        "features = ImageFeatures('efficientnet_lite0', devices='cpu')\n"
        "images = numpy.zeros((1, 8, 8, 3), numpy.uint8)\n"
        "features.fit_transform(images)\n"
        "def work():\n"
        "    try:\n"
        "        features.transform(images)\n"
        "    except RuntimeError as error:\n"
        "        print(error, flush=True)\n"
        "process = multiprocessing.get_context('fork').Process(target=work)\n"
        "process.start()\n"
        "process.join()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert "loky" in done.stdout, done.stderr


def test_tables_in_and_out(photos, rows) -> None:
    table = pd.DataFrame(
        {"path": [str(path) for path in photos], "lens": ["wide", "tele", "wide"] * 6 + ["tele"]},
        index=[f"row {number}" for number in range(19)],
    )
    features = ImageFeatures(**LITE).set_output(transform="pandas")
    found = features.fit_transform(table["path"])
    assert found.index.tolist() == table.index.tolist()
    assert found.columns[0] == "pool_0"
    np.testing.assert_array_equal(found.to_numpy(), rows)
    both = make_column_transformer((ImageFeatures(**LITE), ["path"]), (OneHotEncoder(), ["lens"]))
    np.testing.assert_array_equal(both.fit_transform(table)[:, :1280].astype(np.float32), rows)
    assert both.get_feature_names_out()[-1] == "onehotencoder__lens_wide"


def test_tensorflow_waits_for_the_first_fit() -> None:
    code = (
        "import sys\n"
        "from sklearn.base import clone\n"
        "from pool3.sklearn import ImageFeatures\n"
        "features = clone(ImageFeatures('efficientnet_lite0').set_params(errors='nan'))\n"
        "repr(features), features.get_feature_names_out()\n"
        "print('tensorflow' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.slow
def test_the_examples_of_the_page_run(tmp_path) -> None:
    write_folder(tmp_path / "photos", 24, suffix=".jpg")
    page = (ROOT / "docs" / "sklearn.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) >= 4
    (tmp_path / "page.py").write_text("\n".join(examples), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
