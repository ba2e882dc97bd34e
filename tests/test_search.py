"""Nearest rows and near duplicates, beside all distances computed plainly in float64."""

import csv
import json
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pool3
from pool3 import Extractor, ExtractSpec
from pool3.errors import (
    EvaluationError,
    MissingLibraryError,
    OutputExistsError,
    SpecError,
    StoreNotFoundError,
    WeightsError,
)
from pool3.repeating import embed_like, spec_of
from pool3.search import duplicates, neighbours, pairs, vectors, writing
from pool3.store import FeatureWriter, Rows, open_features
from tests.images import pixels, write_image
from tests.store.examples import PROVENANCE, begin
from tests.test_classify import save

WIDTH = 12


def features(rows: int, seed: int, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def write(path: Path, rows: np.ndarray, **changes: object) -> Path:
    return save(path, rows, np.full(len(rows), -1), (), **changes)


def with_contents(path: Path, rows: np.ndarray, contents: list[int]) -> Path:
    """A feature file whose images have the given digests, a byte each."""
    count = len(rows)
    with FeatureWriter.open(
        path, PROVENANCE, inputs=count, width=rows.shape[1], label_names=(), rows_per_shard=count
    ) as writer:
        digests = np.repeat(np.array(contents, np.uint8)[:, None], 32, axis=1)
        index, labels = np.arange(count), np.full(count, -1, np.int32)
        writer.commit(Rows(0, count, index, [f"{i}.png" for i in index], labels, digests, rows, []))
        return writer.seal()


def plain(queries: np.ndarray, base: np.ndarray, metric: str) -> np.ndarray:
    """All distances (Q, N)."""
    x, y = queries.astype(np.float64), base.astype(np.float64)
    if metric == "cosine":
        x = x / np.sqrt((x * x).sum(axis=1))[:, None]
        y = y / np.sqrt((y * y).sum(axis=1))[:, None]
    squared = ((x[:, None] - y) ** 2).sum(axis=2)
    return squared / 2 if metric == "cosine" else np.sqrt(squared)


def by_distance_and_row(distances: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


@pytest.fixture
def small_blocks(monkeypatch) -> None:
    monkeypatch.setattr(vectors, "BLOCK_ROWS", 17)
    monkeypatch.setattr(vectors, "_PAIR_BYTES", 1)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 7, 120])
def test_neighbours_are_those_of_all_distances(tmp_path, small_blocks, metric, k) -> None:
    queries, base = features(40, 0), features(120, 1)
    base[:, 0] += 3
    base[50:60] *= 1000
    base[60:70] *= 1e-12
    result = neighbours(write(tmp_path / "q.h5", queries), write(tmp_path / "b.h5", base), k, metric=metric)
    expected = plain(queries, base, metric)
    rows = by_distance_and_row(expected, k)
    np.testing.assert_array_equal(result.rows, rows)
    np.testing.assert_allclose(result.distances, np.take_along_axis(expected, rows, axis=1), rtol=1e-12)
    assert result.found(3)[0] == {
        "row": int(rows[3, 0]), "id": f"{rows[3, 0]}.png", "distance": result.distances[3, 0]
    }  # fmt: skip


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_ties_go_by_row_number_across_blocks(tmp_path, small_blocks, metric) -> None:
    few = features(5, 2)
    base = few[np.random.default_rng(3).integers(0, 5, 100)]
    queries = np.concatenate([few, few + np.float32(0.25)])
    result = neighbours(write(tmp_path / "q.h5", queries), write(tmp_path / "b.h5", base), 30, metric=metric)
    expected = plain(queries, base, metric)
    np.testing.assert_array_equal(result.rows, by_distance_and_row(expected, 30))
    counts = [(base == row).all(axis=1).sum() for row in few]
    for i, count in enumerate(counts):
        assert (result.distances[i, : min(count, 30)] == 0).all()


def test_rows_that_differ_in_the_last_bit_are_ranked_right(tmp_path) -> None:
    """Their float32 products are the same, or in the wrong order."""
    query = np.abs(features(1, 4, 500)) + 1
    base = np.repeat(query, 60, axis=0)
    for i in range(60):
        base[i, : 60 - i] = np.nextafter(base[i, : 60 - i], np.float32(9))
    q, b = write(tmp_path / "q.h5", query), write(tmp_path / "b.h5", base)
    for metric in ("cosine", "euclidean"):
        result = neighbours(q, b, 60, metric=metric)
        np.testing.assert_array_equal(result.rows, by_distance_and_row(plain(query, base, metric), 60))
    assert result.rows[0, 0] == 59


def test_huge_and_tiny_numbers(tmp_path) -> None:
    """Whose squares float32 could not hold."""
    base = features(50, 5) * np.float32(1e30)
    base[25:] *= np.float32(1e-35)
    queries = base[[3, 40]]
    result = neighbours(
        write(tmp_path / "q.h5", queries), write(tmp_path / "b.h5", base), 50, metric="euclidean"
    )
    np.testing.assert_array_equal(result.rows, by_distance_and_row(plain(queries, base, "euclidean"), 50))


def test_a_file_in_itself(tmp_path, small_blocks) -> None:
    rows = features(60, 6)
    path = write(tmp_path / "a.h5", rows)
    own = neighbours(path, path, 3)
    np.testing.assert_array_equal(own.rows[:, 0], np.arange(60))
    others = neighbours(path, path, 59, without_self=True)
    expected = plain(rows, rows, "cosine")
    np.fill_diagonal(expected, np.inf)
    np.testing.assert_array_equal(others.rows, by_distance_and_row(expected, 59))
    with pytest.raises(EvaluationError, match="not the same file"):
        neighbours(write(tmp_path / "b.h5", features(5, 0)), path, 3, without_self=True)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("without_self", [False, True])
def test_faiss_gives_the_same(tmp_path, small_blocks, metric, without_self) -> None:
    rows = np.concatenate([features(80, 7), features(10, 7)])
    path = write(tmp_path / "a.h5", rows)
    settings = {"metric": metric, "without_self": without_self}
    ours, theirs = (neighbours(path, path, 6, backend=backend, **settings) for backend in ("exact", "faiss"))
    assert theirs.backend == "faiss"
    np.testing.assert_array_equal(ours.rows, theirs.rows)
    np.testing.assert_allclose(ours.distances, theirs.distances, atol=1e-7)
    everything = neighbours(path, path, 89 if without_self else 90, backend="faiss", **settings)
    assert everything.rows.min() == 0


def test_faiss_is_not_used_unasked_and_named_where_missing(tmp_path, monkeypatch) -> None:
    path = write(tmp_path / "a.h5", features(20, 0))
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert neighbours(path, path, 2).backend == "exact"
    assert duplicates(path).backend == "exact"
    for call in (
        lambda: neighbours("nowhere.h5", path, 2, backend="faiss"),
        lambda: duplicates(path, backend="faiss"),
    ):
        with pytest.raises(MissingLibraryError, match=r"pip install 'pool3\[faiss\]'"):
            call()


def near_duplicates() -> tuple[np.ndarray, list[int]]:
    """Rows, some near others, and contents, some the same."""
    rows = features(70, 8)
    rows[30] = rows[4]
    rows[31] = rows[4] * 2
    rows[50] = rows[31] + 0.01 * features(1, 9)[0]
    rows[69] = rows[10] + 0.05 * features(1, 10)[0]
    contents = list(range(70))
    contents[30] = 4
    return rows, contents


@pytest.mark.parametrize("backend", ["exact", "faiss"])
@pytest.mark.parametrize("threshold", [0.3, 0.95, 0.9999, 1.0])
def test_pairs_are_those_of_all_cosines(tmp_path, small_blocks, backend, threshold) -> None:
    rows, contents = near_duplicates()
    result = duplicates(with_contents(tmp_path / "a.h5", rows, contents), threshold, backend=backend)
    cosines = 1 - plain(rows, rows, "cosine")
    expected = np.argwhere(np.triu(cosines >= threshold, 1))
    np.testing.assert_array_equal(result.pairs, expected)
    np.testing.assert_allclose(result.similarities, cosines[expected[:, 0], expected[:, 1]], rtol=1e-12)
    assert result.same_bytes.sum() == 1
    assert result.pairs[result.same_bytes].tolist() == [[4, 30]]


def test_groups_are_what_hangs_together(tmp_path) -> None:
    rows, contents = near_duplicates()
    result = duplicates(with_contents(tmp_path / "a.h5", rows, contents), 0.99)
    assert [group.tolist() for group in result.groups] == [[4, 30, 31, 50], [10, 69]]
    assert result.surplus == 4
    chain = pairs.groups(np.array([[0, 9], [3, 9], [5, 6], [3, 8]]), 12)
    assert [group.tolist() for group in chain] == [[0, 3, 8, 9], [5, 6]]
    assert pairs.groups(np.empty((0, 2), np.int64), 5) == ()


def test_nothing_is_near(tmp_path) -> None:
    result = duplicates(write(tmp_path / "a.h5", np.eye(9, dtype=np.float32)))
    assert (len(result.pairs), result.groups, result.surplus) == (0, (), 0)


def test_too_many_pairs_are_an_error_and_not_a_full_memory(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pairs, "MOST_PAIRS", 1000)
    path = write(tmp_path / "a.h5", np.ones((50, 3)))
    for backend in ("exact", "faiss"):
        with pytest.raises(EvaluationError, match="raise the threshold"):
            duplicates(path, backend=backend)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"k": 0}, "k = 0"),
        ({"metric": "manhattan"}, "choose one of cosine, euclidean"),
        ({"backend": "gpu"}, "choose one of exact, faiss"),
        ({"k": 21}, "20 rows to find, fewer than 21"),
        ({"k": 20, "without_self": True}, "19 rows to find"),
    ],
)
def test_settings_that_cannot_be(tmp_path, settings, said) -> None:
    path = write(tmp_path / "a.h5", features(20, 0))
    with pytest.raises(EvaluationError, match=said):
        neighbours(path, path, **settings)


@pytest.mark.parametrize("threshold", [0, -0.5, 1.01, float("nan")])
def test_thresholds_that_cannot_be(tmp_path, threshold) -> None:
    with pytest.raises(EvaluationError, match="threshold"):
        duplicates(write(tmp_path / "a.h5", features(20, 0)), threshold)


def test_rows_that_cannot_be_compared(tmp_path) -> None:
    rows = features(20, 0)
    rows[13, 2] = np.nan
    path = write(tmp_path / "nan.h5", rows)
    for call in (lambda: neighbours(path, path, 1), lambda: duplicates(path)):
        with pytest.raises(EvaluationError, match=r"row 13 \(13\.png\)"):
            call()
    rows[13] = 0
    path = write(tmp_path / "zero.h5", rows)
    for call in (lambda: neighbours(path, path, 1), lambda: duplicates(path)):
        with pytest.raises(EvaluationError, match=r"only zeros in row 13 \(13\.png\)"):
            call()
    found = neighbours(path, path, 20, metric="euclidean")
    np.testing.assert_array_equal(found.rows, by_distance_and_row(plain(rows, rows, "euclidean"), 20))


def test_other_kinds_are_refused_unless_forced(tmp_path) -> None:
    a = write(tmp_path / "a.h5", features(20, 0))
    b = write(tmp_path / "b.h5", features(20, 0), tensor_digest="66" * 32)
    with pytest.raises(EvaluationError, match="tensor_digest"):
        neighbours(a, b)
    result = neighbours(a, b, force=True)
    assert result.forced
    assert "tensor_digest" in result.differences[0]
    with begin(tmp_path / "open.h5"):
        pass
    with pytest.raises(StoreNotFoundError, match="unfinished"):
        neighbours(a, tmp_path / "open.h5")


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pool3.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "100"},
        check=False,
    )


def test_command_neighbours(tmp_path) -> None:
    path, out = write(tmp_path / "a.h5", features(30, 0)), tmp_path / "new" / "found.csv"
    done = command("neighbours", path, path, "-k", 2, "--metric", "euclidean", "--json", "-o", out)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["metric"], result["k"], result["rows"], len(result["queries"])) == ("euclidean", 2, 30, 30)
    assert result["queries"][4]["neighbours"][0] == {"row": 4, "id": "4.png", "distance": 0.0}
    with out.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 60
    flat = [(q["id"], n["id"], n["distance"]) for q in result["queries"] for n in q["neighbours"]]
    assert [(line["query"], line["id"], float(line["distance"])) for line in lines] == flat
    refused = command("neighbours", path, path, "-k", 2, "-o", out)
    assert refused.returncode == 1
    assert "--overwrite" in refused.stderr
    assert command("neighbours", path, path, "-k", 2, "-o", out, "--overwrite").returncode == 0
    shown = command("neighbours", path, path, "-k", 2)
    assert "4.png\n  0" in shown.stdout
    assert "10 more queries" in shown.stderr
    assert command("neighbours", path, path, "-k", 0).returncode == 2
    assert "end in .csv" in command("neighbours", path, path, "-o", tmp_path / "x.xml").stderr
    missing = command("neighbours", tmp_path / "nowhere", path)
    assert missing.returncode == 1
    assert "nowhere" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_command_dedup(tmp_path) -> None:
    rows, contents = near_duplicates()
    path, out = with_contents(tmp_path / "a.h5", rows, contents), tmp_path / "pairs.csv"
    done = command("dedup", path, "--threshold", 0.99, "--json", "-o", out)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [[member["row"] for member in group] for group in result["groups"]] == [[4, 30, 31, 50], [10, 69]]
    assert (result["same_bytes"], result["surplus"], result["rows"]) == (1, 4, 70)
    with out.open(newline="") as file:
        lines = list(csv.DictReader(file))
    columns = ("row_a", "id_b", "same_bytes", "group")
    assert [lines[0][name] for name in columns] == ["4", "30.png", "1", "1"]
    assert len(lines) == len(result["pairs"])
    shown = command("dedup", path, "--threshold", 0.99)
    assert "30.png  = the first, byte for byte" in shown.stdout
    assert "4 of 70 rows would go" in shown.stdout
    assert command("dedup", path, "--threshold", 7).returncode == 1
    own = command("dedup", path, "-o", path, "--overwrite")
    assert own.returncode == 1
    assert "end in .csv" in own.stderr


def test_an_output_is_never_an_input(tmp_path) -> None:
    path = write(tmp_path / "a.h5", features(5, 0))
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    with pytest.raises(OutputExistsError, match="the feature file"):
        writing.check(link, path, overwrite=True)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory) -> tuple[Path, Path]:
    """A folder of images and its features, by seeded weights."""
    folder = tmp_path_factory.mktemp("embedded")
    for number in range(6):
        write_image(folder / "images" / f"{number}.png", pixels(40 + number, 50, number))
    spec = ExtractSpec(
        backbone="efficientnet_lite0", weights="random:3", devices="cpu", precision="float32", batch_size=3
    )
    Extractor(spec).extract(folder / "images", folder / "features.h5")
    return folder / "images", folder / "features.h5"


def test_images_are_embedded_as_the_file_was(embedded, tmp_path) -> None:
    images, path = embedded
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "same.png").write_bytes((images / "4.png").read_bytes())
    (tmp_path / "q" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    done = command("neighbours", tmp_path / "q", path, "-k", 2, "--json")
    assert done.returncode == 0, done.stderr
    (query,) = json.loads(done.stdout)["queries"]
    assert query["id"] == "same.png"
    assert query["neighbours"][0]["id"] == "4.png"
    assert query["neighbours"][0]["distance"] == pytest.approx(0, abs=1e-9)
    assert "1 image of the query could not be read" in done.stderr


def test_only_the_weights_of_the_file_will_do(embedded, tmp_path) -> None:
    images, path = embedded
    assert embed_like(path, images, tmp_path / "again.h5").rows == 6
    with open_features(path) as one, open_features(tmp_path / "again.h5") as other:
        np.testing.assert_array_equal(one.features[:], other.features[:])
        with pytest.raises(SpecError, match="--weights PATH"):
            spec_of(replace(one.provenance, weights="custom"), weights=None, devices="cpu")
    with pytest.raises(WeightsError, match="tensor digest"):
        embed_like(path, images, tmp_path / "x.h5", weights="random:4")


def test_python_knows_them_by_name(tmp_path) -> None:
    path = write(tmp_path / "a.h5", features(20, 0))
    assert pool3.neighbours(path, path, 1).rows.ravel().tolist() == list(range(20))
    assert pool3.duplicates(path).ids == [f"{i}.png" for i in range(20)]


@pytest.mark.parametrize("search", [lambda a, b: neighbours(a, b, 5), lambda _a, b: duplicates(b, 0.9)])
def test_memory_does_not_grow_with_the_features(tmp_path, monkeypatch, search) -> None:
    """Of 4,000 rows of 1,024 numbers, 16 MB, two blocks of 32 rows are held; ids take the most of the rest."""
    monkeypatch.setattr(vectors, "BLOCK_ROWS", 32)
    monkeypatch.setattr(vectors, "_PAIR_BYTES", 1 << 18)
    paths = write(tmp_path / "a.h5", features(40, 0, 1024)), write(tmp_path / "b.h5", features(4000, 1, 1024))
    tracemalloc.start()
    try:
        search(*paths)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 << 20
