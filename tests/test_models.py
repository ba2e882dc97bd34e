"""The models beside scikit-learn's own, the choice of a backend, the grid, and what goes into files."""

import csv
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC

from pool3.classify import classify, predict, settings
from pool3.classify.backends import SUPPORTED, Choice, Found, choose, make_model
from pool3.classify.models import DEFAULTS, MODELS
from pool3.classify.scoring import wilson
from pool3.classify.tables import harmless
from pool3.errors import EvaluationError, OutputExistsError
from pool3.store import open_features
from tests.test_classify import DIGITS, X86, digits, save

HERE, MISSING = Found(version="1.0"), Found(missing="cannot be imported (No module named 'it')")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    features, labels = digits()
    train = save(folder / "train.h5", features[:900], labels[:900], DIGITS)
    return train, save(folder / "test.h5", features[900:], labels[900:], DIGITS)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_those_of_the_literature(right, count, low, high) -> None:
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3."""
    assert np.allclose(wilson(right, count), (low, high), atol=5e-5)
    assert wilson(count, count)[1] == 1.0


def test_auto_takes_the_first_backend_that_is_here_and_has_the_model() -> None:
    every = {"cuml": HERE, "intelex": HERE, "sklearn": HERE}
    assert choose("auto", "svc", every).backend == "cuml"
    no_gpu = every | {"cuml": Found(missing="there is no GPU that it can use")}
    second = choose("auto", "svc", no_gpu)
    assert second.backend == "intelex"
    assert "cuML there is no GPU" in second.reason
    third = choose("auto", "logistic", no_gpu)
    assert third.backend == "sklearn"
    assert "scikit-learn-intelex does not have logistic" in third.reason
    assert choose("auto", "svc", {"cuml": MISSING, "intelex": MISSING, "sklearn": HERE}).backend == "sklearn"


def test_a_backend_asked_for_by_name_is_never_replaced() -> None:
    found = {"cuml": MISSING, "intelex": MISSING, "sklearn": HERE}
    for backend in ("cuml", "intelex"):
        with pytest.raises(EvaluationError, match=rf"{backend} cannot be imported .*pip install 'pool3\["):
            choose(backend, "svc", found)
    with pytest.raises(EvaluationError, match=r"intelex does not have the model centroid; choose sklearn"):
        choose("intelex", "centroid", found | {"intelex": HERE})
    with pytest.raises(EvaluationError, match="unknown backend 'gpu'"):
        choose("gpu", "svc", found)
    assert set(SUPPORTED["sklearn"]) == set(MODELS)


@pytest.mark.parametrize(
    ("model", "kernel", "given", "message"),
    [
        ("svm", None, {}, "unknown model 'svm'"),
        ("svc", "poly", {}, "unknown kernel 'poly'"),
        ("knn", "rbf", {}, "knn has no kernel"),
        ("knn", None, {"C": 1.0}, "knn has no parameter C; it has k"),
        ("centroid", None, {"k": 3}, "centroid has no parameter k; it has none"),
        ("svc", None, {"gamma": 1.0}, "svc with the kernel linear has no parameter gamma"),
        ("svc", None, {"C": 0.0}, "C must be a finite number above 0"),
        ("svc", "rbf", {"gamma": "auto"}, "gamma must be a finite number"),
        ("knn", None, {"k": 2.5}, "must be whole"),
    ],
)
def test_parameters_that_a_model_does_not_have_or_take(model, kernel, given, message) -> None:
    with pytest.raises(EvaluationError, match=message):
        settings(model, kernel, given)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_scikit_learns(files, model) -> None:
    """The features and classes go in as they are: what comes out is what the plain estimator says."""
    train, test = files
    found = classify(train, test, model=model, backend="sklearn")
    features, labels = digits()
    features = features.astype(np.float32)
    plain = make_model(settings(model), Choice("sklearn", "", "")).estimator.fit(features[:900], labels[:900])
    assert np.mean(found.predictions == plain.predict(features[900:])) >= 0.999
    assert found.model == model
    assert found.parameters == DEFAULTS[model]
    assert found.accuracy_interval[0] < found.accuracy < found.accuracy_interval[1]
    assert found.decision.shape == (897, 10)
    if model not in ("knn", "svc"):  # whose votes have ties
        assert np.array_equal(found.decision.argmax(1), found.predictions)


def test_the_grid_is_scikit_learns_search_on_the_training_rows(files) -> None:
    train, test = files
    values = [1e-6, 1e-4, 1e-2]
    found = classify(train, test, grid={"C": values}, folds=3, backend="sklearn", seed=7)
    features, labels = digits()
    folds = StratifiedKFold(3, shuffle=True, random_state=7)
    plain = GridSearchCV(SVC(kernel="linear"), {"C": values}, cv=folds).fit(features[:900], labels[:900])
    assert np.allclose([point.mean for point in found.grid.points], plain.cv_results_["mean_test_score"])
    assert found.parameters == plain.best_params_ == found.grid.points[found.grid.best].parameters
    assert found.accuracy == pytest.approx(plain.score(features[900:], labels[900:]))


def test_a_grid_that_cannot_be_searched(files) -> None:
    train, test = files
    with pytest.raises(EvaluationError, match="has no parameter k"):
        classify(train, test, grid={"k": [1]})
    with pytest.raises(EvaluationError, match="at least 2 folds"):
        classify(train, test, grid={"C": [1]}, folds=1)
    with pytest.raises(EvaluationError, match="too few for 200 folds"):
        classify(train, test, grid={"C": [1]}, folds=200)


CASES = [("svc", "linear", "sklearn"), ("svc", "rbf", "sklearn"), ("linear-svc", None, "sklearn")]
CASES += [(model, None, "sklearn") for model in ("logistic", "knn", "centroid")]
INTEL = [("svc", "linear", "intelex"), ("svc", "rbf", "intelex"), ("knn", None, "intelex")]


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize(
    ("model", "kernel", "backend"), [*CASES, *(pytest.param(*case, marks=X86) for case in INTEL)]
)
def test_a_saved_model_says_the_same(tmp_path, model, kernel, backend, classes) -> None:
    features, labels = digits()
    kept = np.flatnonzero(labels < classes)
    learn, ask = kept[: len(kept) // 2], kept[len(kept) // 2 :]
    train = save(tmp_path / "train.h5", features[learn], labels[learn], DIGITS[:classes])
    test = save(tmp_path / "test.h5", features[ask], labels[ask], DIGITS[:classes])
    before = classify(train, test, model=model, kernel=kernel, backend=backend, save=tmp_path / "m.skops")
    after = predict(tmp_path / "m.skops", test)
    assert np.array_equal(before.predictions, after.predictions)
    assert after.accuracy == before.accuracy
    assert after.label_names == DIGITS[:classes]
    assert np.allclose(before.decision, after.decision, rtol=1e-5, atol=1e-5)


def test_features_of_another_kind_are_refused(files, tmp_path) -> None:
    train, _ = files
    classify(train, model="centroid", save=tmp_path / "m.skops")
    features, labels = digits()
    other = save(
        tmp_path / "other.h5", features, labels, DIGITS, weights_sha256="44" * 32, tensor_digest="5" * 64
    )
    with pytest.raises(EvaluationError, match=r"another kind .*tensor_digest"):
        predict(tmp_path / "m.skops", other)
    narrow = save(tmp_path / "narrow.h5", features[:, :32], labels, DIGITS)
    with pytest.raises(EvaluationError, match="width: 64 → 32"):
        predict(tmp_path / "m.skops", narrow)


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return (Path.touch, (self.place,))


def hostile(kind: str, good: Path, place: Path, bomb: Path) -> Path:
    """A file that is no model of pool3, or not any more."""
    content = good.read_bytes()
    if kind == "pickle":
        place.write_bytes(pickle.dumps(Bomb(bomb)))
    elif kind == "cut off":
        place.write_bytes(content[: len(content) // 2])
    elif kind == "empty":
        place.write_bytes(b"")
    else:
        with zipfile.ZipFile(good) as old, zipfile.ZipFile(place, "w") as new:
            for item in old.infolist():
                body = old.read(item)
                if item.filename == "schema.json" and kind == "a function":
                    schema = json.loads(body)
                    schema["content"]["bomb"] = {
                        "__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "content": "rm",
                    }  # fmt: skip
                    body = json.dumps(schema).encode()
                packed = zipfile.ZIP_DEFLATED if kind == "compressed" else zipfile.ZIP_STORED
                new.writestr(item.filename, body, packed)
    return place


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("pickle", "no model of pool3"),
        ("cut off", "no model of pool3"),
        ("empty", "no model of pool3"),
        ("a function", r"refused and nothing of it was run: it names .*os\.system"),
        ("compressed", "it is compressed"),
    ],
)
def test_a_hostile_model_runs_nothing(files, tmp_path, kind, message) -> None:
    train, test = files
    classify(train, model="centroid", save=tmp_path / "good.skops")
    bad = hostile(kind, tmp_path / "good.skops", tmp_path / "bad.skops", tmp_path / "bomb")
    with pytest.raises(EvaluationError, match=message):
        predict(bad, test)
    assert not (tmp_path / "bomb").exists()


def test_a_model_of_cuml_is_refused_before_the_fit() -> None:
    from pool3.classify.saving import check_savable

    with pytest.raises(EvaluationError, match="models of cuML are not saved"):
        check_savable("cuml")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_no_spreadsheet_runs_an_id(text) -> None:
    assert harmless(text) == "'" + text
    assert harmless("a" + text) == "a" + text


def test_the_predictions_file(files, tmp_path) -> None:
    train, test = files
    found = classify(train, test, predictions=tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    with open_features(test) as file:
        assert [line["id"] for line in lines] == file.ids
    assert [line["predicted"] for line in lines] == [DIGITS[n] for n in found.predictions]
    right = np.mean([line["true"] == line["predicted"] for line in lines])
    assert right == pytest.approx(found.accuracy)
    with pytest.raises(OutputExistsError):
        classify(train, test, predictions=tmp_path / "p.csv")
    with pytest.raises(OutputExistsError):
        classify(train, test, save=train, overwrite=True)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pool3.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def without_scores(table: Path) -> list[list[str]]:
    """Scores come from another backend, and differ in their last digits."""
    return [line[:-1] for line in csv.reader(table.read_text(encoding="utf-8").splitlines())]


def test_the_command_line(files, tmp_path) -> None:
    train, test = files
    model, table = tmp_path / "m.skops", tmp_path / "p.csv"
    options = ["--grid", "C=0.001,0.01", "--folds", 2, "--save", model, "--predictions", table]
    shown = run("classify", train, test, *options)
    assert shown.returncode == 0, shown.stderr
    assert "95 %" in shown.stdout
    assert table.exists()
    done = run("predict", model, test, "-o", tmp_path / "again.csv", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert f"{found['accuracy']:.4f}" in shown.stdout
    assert without_scores(tmp_path / "again.csv") == without_scores(table)
    refused = run("predict", model, test, "-o", tmp_path / "again.csv")
    assert refused.returncode == 1
    assert "--overwrite" in refused.stderr
    wrong = run("classify", train, test, "--grid", "C")
    assert wrong.returncode == 1
    assert "NAME=V,V" in wrong.stderr
