"""FID, KID, precision to coverage and the Inception score, beside their formulas written plainly."""

import json
import os
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.linalg
import scipy.special

import pool3
from pool3.errors import EvaluationError, StoreError, StoreNotFoundError
from pool3.metrics import blocks, compare, distances, inception_score, kernel
from pool3.metrics.moments import Moments
from pool3.store import Rows
from tests.store.examples import begin
from tests.test_classify import save

WIDTH = 24
ROWS = 400


def features(rows: int, seed: int, width: int = WIDTH, shift: float = 0.0) -> np.ndarray:
    """Correlated, skewed and never below zero, as pooled features are."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(width, width))
    return np.maximum(rng.normal(size=(rows, width)) @ mixing + shift, 0).astype(np.float32)


def write(path: Path, rows: np.ndarray, **changes: object) -> Path:
    return save(path, rows, np.full(len(rows), -1), (), **changes)


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    return write(folder / "a.h5", features(ROWS, 0)), write(
        folder / "b.h5", features(ROWS - 50, 1, shift=0.4)
    )


def plain_fid(x: np.ndarray, y: np.ndarray) -> float:
    """The formula as torch-fidelity and the paper's code have it."""
    shift = x.mean(axis=0, dtype=np.float64) - y.mean(axis=0, dtype=np.float64)
    first, second = np.cov(x.astype(np.float64), rowvar=False), np.cov(y.astype(np.float64), rowvar=False)
    root = scipy.linalg.sqrtm(first @ second)
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * np.trace(root).real)


def plain_kid(x: np.ndarray, y: np.ndarray, subsets: int, size: int, seed: int) -> np.ndarray:
    """Torch-fidelity's loop, with one sum for each of the three kernels' entries."""
    random = np.random.RandomState(seed)
    found = []
    for _ in range(subsets):
        a = x[random.choice(len(x), size, replace=False)].astype(np.float64)
        b = y[random.choice(len(y), size, replace=False)].astype(np.float64)
        aa, bb, ab = (
            sum((p @ q / x.shape[1] + 1) ** 3 for i, p in enumerate(s) for j, q in enumerate(t) if i != j or s is not t)
            for s, t in ((a, a), (b, b), (a, b))
        )  # fmt: skip
        found.append((aa + bb) / (size * (size - 1)) - 2 * ab / size**2)
    return np.array(found)


def between(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt(((x[:, None].astype(np.float64) - y[None]) ** 2).sum(axis=2))


@pytest.mark.parametrize("width", [1, 8, 64])
def test_fid_is_that_of_the_plain_formula(tmp_path, width) -> None:
    x, y = features(5 * width + 7, 2, width), features(6 * width + 3, 3, width, shift=0.5)
    result = distances(write(tmp_path / "x.h5", x), write(tmp_path / "y.h5", y))
    if width == 1:  # np.cov gives no matrix then; of two normal distributions on a line the distance is known
        expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
        assert result.fid == pytest.approx(float(expected), rel=1e-4)
    else:
        assert result.fid == pytest.approx(plain_fid(x, y), rel=1e-6)
    assert result.enough_rows


def test_fid_of_known_distributions() -> None:
    """Diagonal covariances have the distance Σ (σ1 - σ2)² + |μ1 - μ2|²."""
    from pool3.metrics.frechet import frechet_distance

    first, second = Moments(3), Moments(3)
    for moments, mean, deviation in ((first, [0, 0, 0], [1, 2, 0]), (second, [3, 0, 4], [4, 2, 1])):
        moments.count = 11
        moments.mean = np.array(mean, float)
        moments.scatter = np.diag(np.square(deviation)) * 10.0
    assert frechet_distance(first, second) == pytest.approx(25 + 9 + 0 + 1, rel=1e-12)


def test_fid_is_symmetric_and_nothing_for_the_same(pair) -> None:
    there, back = distances(*pair).fid, distances(*pair[::-1]).fid
    assert there == pytest.approx(back, rel=1e-10)
    assert there > 0.1
    assert 0 <= distances(pair[0], pair[0]).fid < 1e-9


def test_few_rows_are_warned_about_and_stay_sound(tmp_path) -> None:
    """Without full rank too: the mean alone is moved, so the distance is known."""
    x = features(10, 4)
    paths = write(tmp_path / "x.h5", x), write(tmp_path / "y.h5", x + np.float32(0.5))
    with pytest.warns(UserWarning, match="10 rows are few for features of 24 numbers: below 120"):
        result = distances(*paths)
    assert result.fid == pytest.approx(0.25 * WIDTH, rel=1e-6)
    assert not result.enough_rows


def test_rows_that_are_all_the_same(tmp_path) -> None:
    paths = [write(tmp_path / f"{i}.h5", np.full((15, 3), i, np.float32)) for i in range(2)]
    assert distances(*paths).fid == pytest.approx(3.0)


def test_moments_do_not_depend_on_the_blocks_and_do_not_cancel() -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 5)) + 1e8
    moments = Moments(5)
    for part in np.split(rows, [1, 2, 300, 300, 999]):
        moments.add(part)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-14)
    expected = np.cov(rows - 1e8, rowvar=False)
    np.testing.assert_allclose(moments.covariance(), expected, atol=1e-6)
    # What a sum of squares would make of it:
    naive = (rows.T @ rows - 1000 * np.outer(rows.mean(axis=0), rows.mean(axis=0))) / 999
    assert np.abs(naive - expected).max() > 1e-2


def test_blocks_of_any_size_give_the_same(pair, monkeypatch) -> None:
    whole = distances(*pair, kid=True, kid_subsets=5, kid_subset_size=40, prdc=True)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 7 * 8 * WIDTH)
    monkeypatch.setattr(kernel, "_HELD_BYTES", 1)
    small = distances(*pair, kid=True, kid_subsets=5, kid_subset_size=40, prdc=True)
    assert small.fid == pytest.approx(whole.fid, rel=1e-9)
    assert small.kid == whole.kid
    assert small.prdc == whole.prdc


def test_kid_draws_and_sums_as_torch_fidelity_does(pair) -> None:
    x, y = features(ROWS, 0), features(ROWS - 50, 1, shift=0.4)
    expected = plain_kid(x, y, 4, 30, 2020)
    found = distances(*pair, kid=True, kid_subsets=4, kid_subset_size=30).kid
    assert found is not None
    assert found.mean == pytest.approx(expected.mean(), rel=1e-9)
    assert found.std == pytest.approx(expected.std(), rel=1e-9)
    other = distances(*pair, kid=True, kid_subsets=4, kid_subset_size=30, seed=1).kid
    assert other is not None
    assert other.mean == pytest.approx(plain_kid(x, y, 4, 30, 1).mean(), rel=1e-9)
    assert other.mean != found.mean


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_to_coverage_by_their_definitions(tmp_path, k) -> None:
    real, fake = features(90, 5, 3), features(70, 6, 3, shift=0.7)
    fake[:5] = real[:5]
    result = distances(write(tmp_path / "r.h5", real), write(tmp_path / "f.h5", fake), prdc=True, k=k).prdc
    assert result is not None
    # The row itself is the nearest of all, at no distance.
    real_reach = np.sort(between(real, real), axis=1)[:, k]
    fake_reach = np.sort(between(fake, fake), axis=1)[:, k]
    apart = between(real, fake)
    inside = apart <= real_reach[:, None]
    assert result.precision == pytest.approx(inside.any(axis=0).mean())
    assert result.recall == pytest.approx((apart <= fake_reach).any(axis=1).mean())
    assert result.density == pytest.approx(inside.sum(axis=0).mean() / k)
    assert result.coverage == pytest.approx(inside.any(axis=1).mean())
    assert 0 < result.precision < 1


def test_equal_rows_are_in_each_others_reach(tmp_path) -> None:
    """Large features that are all the same: rounding must not push them apart."""
    rows = np.full((40, 7), 1234.567, np.float32)
    result = distances(write(tmp_path / "a.h5", rows), write(tmp_path / "b.h5", rows[:37]), prdc=True).prdc
    assert result is not None
    assert (result.precision, result.recall, result.coverage) == (1, 1, 1)


def test_inception_score_is_torch_fidelity_s(tmp_path) -> None:
    logits = np.random.default_rng(7).normal(size=(103, 11)).astype(np.float32) * 3
    softmax = scipy.special.softmax(logits.astype(np.float64), axis=1)
    softmax[:, 0] = 0  # 0 log 0 is 0
    softmax = (softmax / softmax.sum(axis=1, keepdims=True)).astype(np.float32)
    logits[:, 0] = -1e4
    order = np.random.RandomState(2020).permutation(103)
    p = softmax[order].astype(np.float64)
    expected = []
    for i in range(10):
        part = p[i * 103 // 10 : (i + 1) * 103 // 10]
        expected.append(np.exp(scipy.special.rel_entr(part, part.mean(axis=0)).sum(axis=1).mean()))
    for feature, rows in (("softmax", softmax), ("logits", logits)):
        path = write(tmp_path / f"{feature}.h5", rows, feature=feature)
        result = inception_score(path)
        assert result.mean == pytest.approx(np.mean(expected), rel=1e-6)
        assert result.std == pytest.approx(np.std(expected), rel=1e-5)
    assert inception_score(path, seed=None).mean != result.mean
    assert set(result.to_dict()) >= {"inception_score", "std", "splits", "seed", "rows", "classes"}


def test_inception_score_of_extremes(tmp_path) -> None:
    """Sure and all different: the count of classes. Sure and all the same: 1."""
    path = write(tmp_path / "a.h5", np.tile(np.eye(6, dtype=np.float32), (10, 1)), feature="softmax")
    assert inception_score(path, splits=1).mean == pytest.approx(6)
    path = write(tmp_path / "b.h5", np.tile(np.eye(6, dtype=np.float32)[:1], (10, 1)), feature="softmax")
    assert inception_score(path, splits=1).mean == pytest.approx(1)


@pytest.mark.parametrize(
    ("rows", "feature", "settings", "said"),
    [
        (np.ones((20, 4)), "pool_3", {}, "--feature softmax"),
        (np.ones((20, 4)), "softmax", {}, "row 0 .* no distribution"),
        (np.full((20, 4), 0.25), "softmax", {"splits": 21}, "20 rows, too few for 21"),
        (np.full((20, 4), 0.25), "softmax", {"splits": 0}, "at least 1"),
        (np.full((20, 4), np.nan), "logits", {}, "no finite numbers, in row 0"),
    ],
)
def test_what_no_inception_score_is_made_of(tmp_path, rows, feature, settings, said) -> None:
    path = write(tmp_path / "x.h5", rows, feature=feature)
    with pytest.raises(EvaluationError, match=said):
        inception_score(path, **settings)


def test_other_settings_are_refused_unless_forced(tmp_path, pair) -> None:
    other = write(tmp_path / "x.h5", features(ROWS, 1), precision="bfloat16", preprocessing="clean")
    with pytest.raises(EvaluationError, match="precision: float32 → bfloat16"):
        distances(pair[0], other)
    with pytest.warns(UserWarning, match="forced: .*preprocessing"):
        result = distances(pair[0], other, force=True)
    assert result.forced
    assert "precision: float32 → bfloat16" in result.differences
    assert result.fid > 0
    assert not distances(*pair, force=True).forced


@pytest.mark.parametrize("force", [False, True])
def test_other_widths_are_refused_in_any_case(tmp_path, pair, force) -> None:
    narrow = write(tmp_path / "x.h5", features(ROWS, 0)[:, 1:])
    with pytest.raises(EvaluationError, match="width: 24 → 23"):
        distances(pair[0], narrow, force=force)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_no_numbers_are_refused_by_their_row(tmp_path, pair, value) -> None:
    rows = features(ROWS, 1)
    rows[133, 5] = value
    with pytest.raises(EvaluationError, match=r"bad\.h5 .* row 133 \(133\.png\)"):
        distances(pair[0], write(tmp_path / "bad.h5", rows))


def test_one_row_and_none(tmp_path, pair) -> None:
    for rows in (0, 1):
        path = write(tmp_path / f"{rows}.h5", features(rows, 0))
        with pytest.raises(EvaluationError, match=f"{rows} rows, where a distance needs at least 2"):
            distances(pair[0], path)


def test_features_that_are_too_wide(tmp_path, monkeypatch, pair) -> None:
    monkeypatch.setattr(compare, "MOST_WIDTH", 23)
    with pytest.raises(EvaluationError, match="24 wide"):
        distances(*pair)


def test_unsealed_missing_and_foreign_files(tmp_path, pair) -> None:
    with begin(tmp_path / "open.h5"):
        pass
    with pytest.raises(StoreNotFoundError, match="only unfinished work"):
        distances(pair[0], tmp_path / "open.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["features"] = np.zeros((5, 5))
    with pytest.raises(StoreError, match="no feature file"):
        distances(pair[0], tmp_path / "other.h5")


@pytest.mark.parametrize(
    "settings",
    [{"kid_subsets": 0}, {"kid_subset_size": 1}, {"k": 0}, {"seed": -1}, {"seed": 2**32}],
)
def test_settings_are_checked_first(settings) -> None:
    with pytest.raises(EvaluationError, match="received"):
        distances("nowhere.h5", "nowhere.h5", **settings)


def test_sets_too_small_for_what_was_asked(pair) -> None:
    with pytest.raises(EvaluationError, match="--kid-subset-size"):
        distances(*pair, kid=True)
    with pytest.raises(EvaluationError, match="smaller -k"):
        distances(*pair, prdc=True, k=ROWS - 50)


def test_float16_features_are_summed_in_float64(tmp_path) -> None:
    """Their squares alone would overflow float16."""
    rows = (features(200, 8) * 500).astype(np.float16)
    path = tmp_path / "half.h5"
    with begin(path, inputs=200, width=WIDTH, storage="float16", label_names=(), step=1000) as writer:
        index = np.arange(200)
        ids, labels, content = (
            [f"{i}" for i in index],
            index.astype(np.int32) * 0 - 1,
            np.zeros((200, 32), np.uint8),
        )
        writer.commit(Rows(0, 200, index, ids, labels, content, rows, []))
        writer.seal()
    other = write(tmp_path / "x.h5", features(200, 9) * 500)
    assert distances(path, other).fid == pytest.approx(plain_fid(rows, features(200, 9) * 500), rel=1e-6)


def test_progress_is_told(pair) -> None:
    from contextlib import contextmanager

    told: dict[str, tuple[int, int | None]] = {}

    @contextmanager
    def watch(task: str, unit: str):
        def report(done: int, total: int | None) -> None:
            told[f"{task} {unit}"] = (done, total)

        yield report

    distances(*pair, kid=True, kid_subsets=3, kid_subset_size=10, prdc=True, watch=watch)
    assert set(told) == {"reading a.h5 rows", "reading b.h5 rows", "KID subsets", "neighbours pairs"}
    assert all(done == total for done, total in told.values())


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pool3.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "100"},
        check=False,
    )


def test_command_fid(pair, tmp_path) -> None:
    done = command(
        "fid", *pair, "--kid", "--kid-subsets", 3, "--kid-subset-size", 20, "--prdc", "-k", 3, "--json"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert result["fid"] == pytest.approx(
        plain_fid(features(ROWS, 0), features(ROWS - 50, 1, shift=0.4)), rel=1e-6
    )
    assert set(result["kid"]) == {"mean", "std", "subsets", "subset_size", "seed"}
    assert set(result["prdc"]) == {"precision", "recall", "density", "coverage", "k"}
    assert result["forced"] is False
    assert result["reference"]["rows"] == ROWS
    shown = command("fid", *pair)
    assert shown.returncode == 0, shown.stderr
    assert f"fid        {result['fid']:.6g}\n" in shown.stdout
    assert "inception_v3 pool_3" in shown.stdout
    other = write(tmp_path / "x.h5", features(ROWS, 1), decoder="other")
    refused = command("fid", pair[0], other)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "decoder" in refused.stderr
    forced = command("fid", pair[0], other, "--force", "--json")
    assert json.loads(forced.stdout)["forced"] is True
    assert "pool3: forced" in forced.stderr
    assert command("fid", pair[0]).returncode == 2
    assert command("fid", *pair, "-k", 0).returncode == 2


def test_command_inception_score(tmp_path) -> None:
    path = write(tmp_path / "a.h5", np.tile(np.eye(5, dtype=np.float32), (10, 1)), feature="softmax")
    done = command("inception-score", path, "--splits", 1, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["inception_score"] == pytest.approx(5)
    shown = command("inception-score", path, "--no-shuffle")
    assert "in the file's order" in shown.stdout
    refused = command("inception-score", write(tmp_path / "b.h5", features(20, 0)))
    assert refused.returncode == 1
    assert "softmax" in refused.stderr


def test_python_knows_them_by_name(pair) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pool3.distances(*pair).fid == distances(*pair).fid


def test_memory_does_not_grow_with_the_rows(tmp_path, monkeypatch) -> None:
    """Of 16 MB of features, in float64 32 MB, a few blocks of 256 KiB are held."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 256 << 10)
    monkeypatch.setattr(kernel, "_HELD_BYTES", 256 << 10)
    rows = np.abs(features(64_000, 0, 64))
    paths = write(tmp_path / "a.h5", rows), write(tmp_path / "b.h5", rows[:2000])
    del rows
    distances(*paths)  # what is loaded at first use
    tracemalloc.start()
    try:
        distances(*paths, kid=True, kid_subsets=3, kid_subset_size=100)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
