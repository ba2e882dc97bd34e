import json
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pool3.classify import ClassifyResult, classify, hours
from pool3.errors import EvaluationError, StoreNotFoundError
from pool3.store import FeatureWriter, Rows, open_features
from tests.store.examples import PROVENANCE

X86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="scikit-learn-intelex exists for x86 alone"
)
DIGITS = tuple(f"digit {i}" for i in range(10))


def save(
    path: Path, features: np.ndarray, labels: np.ndarray, names: Sequence[str], **changes: object
) -> Path:
    """Write a feature file of the given rows; `changes` go into the provenance."""
    count = len(features)
    with FeatureWriter.open(
        path, replace(PROVENANCE, **changes), inputs=count, width=features.shape[1], label_names=names,
        rows_per_shard=1000,
    ) as writer:  # fmt: skip
        for start, stop in writer.pending():
            index = np.arange(start, stop)
            content = np.zeros((len(index), 32), np.uint8)
            ids = [f"{i}.png" for i in index]
            rows = features[start:stop].astype(np.float32)
            given = labels[start:stop].astype(np.int32)
            writer.commit(Rows(start, stop, index, ids, given, content, rows, []))
        return writer.seal()


def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    features, labels = load_digits(return_X_y=True)
    return features, labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    features, labels = digits()
    save(folder / "all.h5", features, labels, DIGITS)
    save(folder / "train.h5", features[:900], labels[:900], DIGITS, source="a", source_manifest_sha256="a")
    backwards = DIGITS[::-1]
    save(
        folder / "test.h5",
        features[900:],
        9 - labels[900:],
        backwards,
        source="b",
        source_manifest_sha256="b",
    )
    return folder


def two_blobs(
    folder: Path, labels: Sequence[int], names: Sequence[str] = ("a", "b"), **changes: object
) -> Path:
    numbers = np.asarray(labels)
    features = np.random.default_rng(0).normal(size=(len(numbers), 3)) + 5 * numbers[:, None]
    return save(folder / f"{len(list(folder.iterdir()))}.h5", features, numbers, names, **changes)


@pytest.mark.parametrize("backend", ["sklearn", pytest.param("intelex", marks=X86)])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_equals_scikit_learn_itself(folder, backend, kernel) -> None:
    from sklearn.svm import SVC

    features, labels = digits()
    expected = SVC(kernel=kernel, C=0.1).fit(features[:900], labels[:900]).predict(features[900:])
    result = classify(folder / "train.h5", folder / "test.h5", kernel=kernel, backend=backend)
    assert result.backend == backend
    assert (result.predictions == expected).mean() >= 0.999
    assert result.accuracy == pytest.approx((expected == labels[900:]).mean(), abs=0.002)
    assert result.accuracy > 0.9


@X86
def test_backends_agree_on_a_split(folder) -> None:
    results = [classify(folder / "all.h5", backend=backend, seed=3) for backend in ("sklearn", "intelex")]
    assert (results[0].test_rows == results[1].test_rows).all()
    assert (results[0].predictions == results[1].predictions).mean() >= 0.999


def test_scores_are_scikit_learns(folder) -> None:
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    result = classify(folder / "all.h5", C=1e-4, backend="sklearn")
    with open_features(folder / "all.h5") as file:
        truth = file.labels[result.test_rows]
    assert 0.5 < result.accuracy < 1
    np.testing.assert_array_equal(result.confusion_matrix, confusion_matrix(truth, result.predictions))
    expected = precision_recall_fscore_support(truth, result.predictions, zero_division=0)
    found = zip(*[(s.precision, s.recall, s.f1, s.support) for s in result.per_class], strict=True)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs)
    assert [score.name for score in result.per_class] == list(DIGITS)


def test_the_split_is_stratified_and_seeded(folder) -> None:
    first, again, other = (classify(folder / "all.h5", seed=seed) for seed in (0, 0, 1))
    assert (first.n_train, first.n_test) == (898, 899)
    np.testing.assert_array_equal(first.test_rows, again.test_rows)
    assert not np.array_equal(first.test_rows, other.test_rows)
    _, labels = digits()
    halves = np.bincount(labels[first.test_rows]) / np.bincount(labels)
    np.testing.assert_allclose(halves, 0.5, atol=0.02)
    assert classify(folder / "all.h5", test_fraction=0.2).n_test == 360


def test_to_dict_is_json_with_the_promised_keys(folder) -> None:
    result = json.loads(json.dumps(classify(folder / "all.h5").to_dict()))
    assert set(result) >= {
        "accuracy", "n_train", "n_test", "per_class", "confusion_matrix", "label_names", "backend",
        "backend_version", "kernel", "C", "fit_seconds", "predict_seconds", "skipped_unlabelled",
    }  # fmt: skip
    assert result["kernel"] == "linear"
    assert result["C"] == 0.1
    assert np.sum(result["confusion_matrix"]) == result["n_test"]
    assert set(result["per_class"][0]) == {"name", "precision", "recall", "f1", "support"}


def test_rows_without_label_are_left_out_and_counted(tmp_path) -> None:
    train = two_blobs(tmp_path, [0, -1, 1, 0, 1, -1, 0, 1])
    test = two_blobs(tmp_path, [-1, 0, 1])
    alone = classify(train)
    assert (alone.n_train + alone.n_test, alone.skipped_unlabelled) == (6, 2)
    assert set(alone.test_rows) <= {0, 2, 3, 4, 6, 7}
    both = classify(train, test)
    assert (both.n_train, both.n_test, both.skipped_unlabelled) == (6, 2, 3)
    assert both.test_rows.tolist() == [1, 2]
    assert both.accuracy == 1.0


def test_classes_are_matched_by_name(tmp_path) -> None:
    train = two_blobs(tmp_path, [0, 0, 1, 1] * 4, ("a", "b"))
    swapped = two_blobs(tmp_path, [0, 0, 1, 1] * 4, ("b", "a"))
    result = classify(train, swapped)
    assert result.accuracy == 0.0
    assert result.label_names == ("a", "b")
    assert classify(train, two_blobs(tmp_path, [1, 1, 2], ("c", "a", "b"))).n_test == 3


def test_a_class_that_only_the_test_has_is_named(tmp_path) -> None:
    train = two_blobs(tmp_path, [0, 0, 1, 1], ("a", "b", "cow"))
    test = two_blobs(tmp_path, [0, 1, 2], ("a", "b", "cow"))
    with pytest.raises(EvaluationError, match=r"1\.h5 has rows of cow"):
        classify(train, test)


def test_features_of_different_kinds_are_refused_by_name(folder, tmp_path) -> None:
    features, labels = digits()
    other = save(tmp_path / "x.h5", features, labels, DIGITS, precision="bfloat16", tensor_digest="66" * 32)
    with pytest.raises(EvaluationError) as caught:
        classify(folder / "train.h5", other)
    assert "precision: float32 → bfloat16" in str(caught.value)
    assert "tensor_digest" in str(caught.value)
    narrow = save(tmp_path / "narrow.h5", features[:, 1:], labels, DIGITS)
    with pytest.raises(EvaluationError, match="width: 64 → 63"):
        classify(folder / "train.h5", narrow)


@pytest.mark.parametrize(
    ("labels", "names", "said"),
    [
        ([-1, -1], (), "no labelled row"),
        ([0, 0, 0, 0], ("a", "b"), r"1 class \(a\)"),
        ([0, 0, 1], ("a", "lonely"), "lonely has a single row"),
        ([0, 0, 1, 1, 2, 2], ("a", "b", "c"), "nearer to 0.5"),
    ],
)
def test_data_that_cannot_be_evaluated(tmp_path, labels, names, said) -> None:
    fraction = 0.2 if said.startswith("nearer") else 0.5
    with pytest.raises(EvaluationError, match=said):
        classify(two_blobs(tmp_path, labels, names), test_fraction=fraction)


def test_a_test_file_without_labels(tmp_path) -> None:
    with pytest.raises(EvaluationError, match=r"1\.h5 has no labelled row"):
        classify(two_blobs(tmp_path, [0, 0, 1, 1]), two_blobs(tmp_path, [-1]))


def test_infinite_features_are_refused(tmp_path) -> None:
    path = save(tmp_path / "x.h5", np.array([[1.0], [np.inf], [2], [3]]), np.array([0, 0, 1, 1]), ("a", "b"))
    with pytest.raises(EvaluationError, match="finite"):
        classify(path)


@pytest.mark.parametrize(
    "settings",
    [
        {"C": 0},
        {"C": -1.0},
        {"C": float("nan")},
        {"kernel": "poly"},
        {"backend": "gpu"},
        {"test_fraction": 1.0},
    ],
)
def test_settings_are_checked_first(settings) -> None:
    with pytest.raises(EvaluationError):
        classify("nowhere.h5", **settings)


def test_no_such_file() -> None:
    with pytest.raises(StoreNotFoundError, match=r"nowhere\.h5"):
        classify("nowhere.h5")


@X86
def test_auto_says_what_ran(folder, monkeypatch) -> None:
    result = classify(folder / "all.h5")
    assert (result.backend, result.backend_reason) == ("intelex", result.backend_reason)
    assert result.backend_reason.startswith("auto: scikit-learn-intelex is installed; cuML")
    monkeypatch.setitem(sys.modules, "sklearnex.svm", None)
    result = classify(folder / "all.h5")
    assert result.backend == "sklearn"
    assert "cannot be imported" in result.backend_reason
    with pytest.raises(EvaluationError, match=r"pip install 'pool3\[intelex\]'"):
        classify(folder / "all.h5", backend="intelex")


@X86
def test_a_fallback_inside_intelex_is_an_error(folder, monkeypatch) -> None:
    """A sparse matrix would be one cause; here the accelerated part is made to decline."""
    from sklearn.svm import SVC

    monkeypatch.setattr("sklearnex.svm.SVC", SVC)
    with pytest.raises(EvaluationError, match="fell back"):
        classify(folder / "all.h5", backend="intelex")


def test_hours_are_warned_about_before_the_fit(folder, monkeypatch) -> None:
    rule = hours.estimate(898, 64, "sklearn")
    monkeypatch.setattr(hours, "LONG", rule)
    with pytest.warns(UserWarning, match=r"898 rows of 64 numbers.*LinearSVC"):
        classify(folder / "all.h5", backend="sklearn")
    monkeypatch.setattr(hours, "LONG", rule * 1.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classify(folder / "all.h5", backend="sklearn")


def test_the_rule_knows_rows_width_and_backend() -> None:
    assert hours.estimate(20_000, 1280, "sklearn") == pytest.approx(
        4 * hours.estimate(10_000, 1280, "sklearn")
    )
    assert hours.estimate(10_000, 1280, "intelex") < hours.estimate(10_000, 1280, "sklearn") < 10


def pool3(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = (
        "import typer\n"
        "from pool3.commands import classify, info\n"
        "app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)\n"
        "app.command()(info.info)\n"
        "app.command()(classify.classify)\n"
        "app()"
    )
    environment = os.environ | {"COLUMNS": "100"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_command_classify(folder) -> None:
    shown = pool3("classify", folder / "train.h5", folder / "test.h5", "-C", "0.01", "--backend", "sklearn")
    assert shown.returncode == 0, shown.stderr
    for part in (
        "precision",
        "digit 7",
        "predicted",
        "accuracy  0.9",
        "897 rows, trained on 900",
        "C = 0.01",
        "sklearn",
    ):
        assert part in shown.stdout
    assert shown.stderr == ""
    result = json.loads(pool3("classify", folder / "all.h5", "--kernel", "rbf", "--json").stdout)
    assert result["kernel"] == "rbf"
    assert result["accuracy"] > 0.9


def test_command_info(tmp_path) -> None:
    path = two_blobs(tmp_path, [0, 1, 1], ("[red]", "b"))
    text = pool3("info", path)
    assert text.returncode == 0, text.stderr
    for part in ("sealed 20", "[red] 1, b 2", "inception_v3", "tensorflow 2.21", "1 × 5"):
        assert part in text.stdout
    assert json.loads(pool3("info", path, "--json").stdout)["rows"] == 3


def test_commands_load_nothing_heavy() -> None:
    code = (
        "import sys\nfrom pool3.commands import classify, info\n"
        "print({m.partition('.')[0] for m in sys.modules} & {'numpy', 'h5py', 'sklearn', 'rich', 'tensorflow'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_result_is_frozen(folder) -> None:
    result = classify(folder / "all.h5")
    assert isinstance(result, ClassifyResult)
    with pytest.raises(AttributeError):
        result.accuracy = 1.0
