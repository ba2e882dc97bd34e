"""pool3 project: maps are right, judged right, the same again; what it writes; what it refuses."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

import pool3
from pool3.classify.backends import Found
from pool3.errors import EvaluationError, MissingLibraryError, OutputExistsError, SourceNotFoundError
from pool3.metrics import blocks
from pool3.projection import choose, embedding, measure, reducing, settings
from pool3.projection.methods import fitted_to
from pool3.projection.sampling import stratified
from tests.sourced import write_features

HOSTILE = "=1+1 <script>alert(1)<"
"""A folder, and so a class: a formula to a spreadsheet, markup to a page."""


def clusters(count: int, width: int = 12, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features in well separated groups, and their numbers."""
    rng = np.random.default_rng(seed)
    groups = np.arange(count) % classes
    return (rng.normal(size=(classes, width)) * 8)[groups] + rng.normal(size=(count, width)), groups


def features_of(path: Path, features: np.ndarray, labels: np.ndarray | None = None) -> Path:
    """A file of these features, whose images are arrays that nobody keeps."""
    images = np.random.default_rng(1).integers(0, 256, (len(features), 3, 3, 3), np.uint8)
    source = pool3.sources.ArraySource(images, labels=labels)
    return write_features(path, source, features)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory) -> Path:
    features, groups = clusters(150)
    return features_of(tmp_path_factory.mktemp("grouped") / "f.h5", features, groups)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """A feature file beside its folder of 40 images, with classes and ids that mean harm."""
    root = tmp_path_factory.mktemp("photos")
    for i in range(40):
        folder = root / "images" / (HOSTILE if i % 2 else "plain")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.full((9, 12, 3), (6 * i, 255 - 6 * i, 100), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}'\"&amp;.png")
    return write_features(root / "photos.h5", root / "images")


def run(*arguments: object, code: int = 0, before: str = "") -> subprocess.CompletedProcess[str]:
    """The command in a process of its own; `before` runs in it first."""
    script = f"{before}\nimport sys; from pool3.cli import main; sys.argv[0] = 'pool3'; main()"
    command = [sys.executable, "-c", script, "project", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_the_command_writes_a_page_a_picture_and_a_table(photos, tmp_path) -> None:
    page, picture, table = tmp_path / "out" / "map.html", tmp_path / "map.png", tmp_path / "map.csv"
    done = run(photos, "-o", page, "-o", picture, "--coordinates", table, "--perplexity", 5, "--json")
    said = json.loads(done.stdout)
    assert (said["rows"], said["n_total"], said["images_shown"], said["images_note"]) == (40, 40, 40, None)
    assert (said["method"], said["perplexity"], said["backend"], said["k"]) == ("tsne", 5, "opentsne", 15)
    assert said["pca"] == 0  # of 8 numbers there are no 50 components
    assert said["outputs"] == [str(page), str(picture), str(table)]
    assert set(said["seconds"]) == {"read", "embed", "quality", "images", "write"}
    assert 0.5 < said["trustworthiness"] <= 1
    with Image.open(picture) as image:
        assert image.size == (1600, 1200)
        colours = image.convert("RGB").getcolors(1 << 24)
        assert colours is not None
        assert {(63, 144, 218), (255, 169, 14)} <= {colour for _, colour in colours}
    with table.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    with pool3.open_features(photos) as file:
        ids = file.ids
    assert [int(line["row"]) for line in lines] == list(range(40))
    assert {line["label"] for line in lines} == {"plain", f"'{HOSTILE}"}
    assert [line["id"].removeprefix("'") for line in lines] == ids
    assert all(np.isfinite([float(line["x"]), float(line["y"])]).all() for line in lines)
    html = page.read_text("utf-8")
    assert "<script>alert" not in html
    assert "<script" not in re.sub(r"<script( type=\"application/json\" id=\"map-data\")?>", "", html)
    (data,) = re.findall(r'<script type="application/json" id="map-data">(.*?)</script>', html, re.DOTALL)
    map_ = json.loads(data)
    assert map_["ids"] == ids
    assert {entry["name"] for entry in map_["legend"]} == {"plain", HOSTILE}
    assert sorted(map_["sprites"]["place"]) == list(range(40))


def test_what_it_prints(photos, tmp_path) -> None:
    done = run(photos, "-o", tmp_path / "map.png", "--method", "pca", "--limit", 20, "-k", 3)
    assert re.search(r"^rows +20 rows of 40, drawn within each class", done.stdout, re.MULTILINE)
    assert re.search(r"^trustworthiness +[01]\.\d{4} \(k = 3, 20 rows asked\)$", done.stdout, re.MULTILINE)
    assert re.search(r"^backend +sklearn .*scikit-learn is always there", done.stdout, re.MULTILINE)
    assert not re.search(r"^images", done.stdout, re.MULTILINE)


def test_images_at_their_places_in_a_png(photos, tmp_path) -> None:
    done = run(photos, "-o", tmp_path / "map.png", "--method", "pca", "--images", "--json")
    assert json.loads(done.stdout)["images_shown"] == 40
    with Image.open(tmp_path / "map.png") as image:
        drawn = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(int)
    for i in (0, 20, 39):
        distances = np.abs(drawn - (6 * i, 255 - 6 * i, 100)).max(axis=1)
        assert (distances <= 6).sum() > 20


def test_images_that_are_gone_are_said_and_a_wrong_source_is_an_error(photos, tmp_path) -> None:
    moved = write_features(tmp_path / "f.h5", photos.parent / "images", source="/nowhere/at/all")
    done = run(moved, "-o", tmp_path / "map.html", "--method", "pca", "--json")
    assert json.loads(done.stdout)["images_shown"] == 0
    assert "/nowhere/at/all" in done.stderr
    assert "--source" in done.stderr
    assert (tmp_path / "map.html").read_text("utf-8").count("/nowhere/at/all") >= 2
    assert "does not exist" in run(moved, "-o", tmp_path / "b.html", "--source", "/nowhere", code=1).stderr
    found = run(
        moved, "-o", tmp_path / "c.html", "--method", "pca", "--source", photos.parent / "images", "--json"
    )
    assert json.loads(found.stdout)["images_shown"] == 40
    none = run(moved, "-o", tmp_path / "d.html", "--method", "pca", "--no-images", "--json")
    assert json.loads(none.stdout)["images_shown"] is None


@pytest.mark.parametrize(
    ("method", "backend"),
    [
        ("tsne", "opentsne"),
        ("tsne", "sklearn"),
        ("pca", "sklearn"),
        # Its library compiles itself when it is first used.
        pytest.param("umap", "umap-learn", marks=pytest.mark.slow),
    ],
)
def test_every_method_keeps_groups_together_and_repeats_itself(grouped, method, backend) -> None:
    result = pool3.project(grouped, method=method, backend=backend, pca=5, limit=0)
    assert (result.backend, result.backend_reason) == (backend, "asked for")
    assert result.places.shape == (150, 2)
    groups = np.arange(150) % 3
    near = NearestNeighbors(n_neighbors=6).fit(result.places).kneighbors(return_distance=False)
    assert (groups[near] == groups[:, None]).mean() > 0.98
    assert result.quality.trustworthiness > 0.8
    again = pool3.project(grouped, method=method, backend=backend, pca=5, limit=0)
    np.testing.assert_array_equal(again.places, result.places)


def test_a_seed_gives_one_map_also_with_approximate_neighbours_and_threads(tmp_path, monkeypatch) -> None:
    path = features_of(tmp_path / "f.h5", clusters(1010)[0])  # from 1,000 on openTSNE approximates
    monkeypatch.setattr(embedding, "_PARALLEL", 0)
    maps = [pool3.project(path, seed=seed, pca=5, perplexity=10).places for seed in (0, 0, 1)]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert np.abs(maps[0] - maps[2]).max() > 0.1


def test_the_blog_s_numbers_come_from_the_libraries_themselves(grouped) -> None:
    """PCA and t-SNE by hand give the same map."""
    import openTSNE
    from sklearn.decomposition import PCA

    with pool3.open_features(grouped) as file:
        x = file.features[:]
    by_hand = openTSNE.TSNE(perplexity=10, random_state=3).fit(PCA(5, random_state=3).fit_transform(x))
    result = pool3.project(grouped, pca=5, perplexity=10, seed=3, limit=0)
    np.testing.assert_allclose(result.places, by_hand, atol=1e-6)


@pytest.mark.parametrize("k", [1, 5, 40])
def test_quality_is_that_of_the_definitions(tmp_path, k, monkeypatch) -> None:
    features, _ = clusters(120, classes=5)
    path = features_of(tmp_path / "f.h5", features)
    places = features[:, :2] + np.random.default_rng(0).normal(size=(120, 2))
    with pool3.open_features(path) as file:
        x = file.features[:].astype(float)
        found = measure(file, places, k=k, sample=120, seed=0, report=lambda *_: None)
        monkeypatch.setattr(blocks, "BLOCK_BYTES", 8 * 12 * 17)  # 17 rows at a time
        assert measure(file, places, k=k, sample=120, seed=0, report=lambda *_: None) == found
        some = measure(file, places, k=k, sample=60, seed=0, report=lambda *_: None)
    assert found.trustworthiness == pytest.approx(trustworthiness(x, places, n_neighbors=k), abs=1e-12)
    near, kept = (
        NearestNeighbors(n_neighbors=k).fit(y).kneighbors(return_distance=False) for y in (x, places)
    )
    shared = np.mean([len(set(a) & set(b)) / k for a, b in zip(near, kept, strict=True)])
    assert found.knn_preservation == pytest.approx(shared, abs=1e-12)
    assert (found.rows, some.rows) == (120, 60)
    assert some.trustworthiness == pytest.approx(found.trustworthiness, abs=0.06)
    assert some.trustworthiness != found.trustworthiness


def test_quality_of_the_best_map_and_of_equal_rows(tmp_path) -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(60, 2))
    with pool3.open_features(features_of(tmp_path / "flat.h5", np.pad(flat, ((0, 0), (0, 3))))) as file:
        best = measure(
            file, flat.astype(np.float32).astype(float), k=7, sample=60, seed=0, report=lambda *_: None
        )
    assert (best.trustworthiness, best.knn_preservation) == (1, 1)
    twins = np.repeat(rng.normal(size=(20, 4)), 3, axis=0)
    with pool3.open_features(features_of(tmp_path / "twins.h5", twins)) as file:
        alike = measure(file, twins[:, :2], k=2, sample=60, seed=0, report=lambda *_: None)
        few = measure(
            file.select(rows=slice(5)), twins[:5, :2], k=15, sample=60, seed=0, report=lambda *_: None
        )
    assert (alike.trustworthiness, alike.knn_preservation) == (1, 1)
    assert few.k == 2


def test_features_larger_than_memory_are_reduced_to_the_same_space(tmp_path, monkeypatch) -> None:
    path = features_of(tmp_path / "f.h5", clusters(230, classes=6)[0])
    with pool3.open_features(path) as file:
        whole = reducing.read(file)
        exact, kept = reducing.reduce(file, whole, 5, 0, lambda *_: None)
        monkeypatch.setattr(reducing, "_ROWS", 50)
        steps: list[tuple[int, int | None]] = []
        blockwise, kept_too = reducing.reduce(file, None, 5, 0, lambda *done: steps.append(done))
    assert blockwise.shape == (230, 5)
    assert steps[-1] == (460, 460)
    assert kept_too == pytest.approx(kept, rel=1e-3)
    for axis in range(5):  # the same up to sign
        assert abs(np.corrcoef(exact[:, axis], blockwise[:, axis])[0, 1]) > 0.99
    monkeypatch.setattr(reducing, "IN_MEMORY", 0)
    result = pool3.project(path, method="pca")
    assert abs(np.corrcoef(result.places[:, 0], exact[:, 0])[0, 1]) > 0.99


def test_only_the_rows_that_are_named_are_placed(grouped) -> None:
    rows = np.arange(9, 140, 3)
    result = pool3.project(grouped, method="pca", rows=rows)
    np.testing.assert_array_equal(result.rows, rows)
    assert (result.places.shape, result.n_total) == ((len(rows), 2), 150)
    some = pool3.project(grouped, method="pca", rows=rows, limit=20).rows
    assert len(some) == len(set(some.tolist()) & set(rows.tolist())) == 20


@pytest.mark.parametrize("limit", [4, 10, 37, 99])
def test_a_sample_has_the_classes_in_their_proportions(limit) -> None:
    labels = np.repeat(np.array([0, 1, -1], np.int32), [70, 25, 5])
    rows = stratified(labels, limit, seed=4)
    assert len(rows) == len(set(rows.tolist())) == limit
    assert (np.diff(rows) > 0).all()
    for label, share in ((0, 0.7), (1, 0.25), (-1, 0.05)):
        drawn = int((labels[rows] == label).sum())
        assert drawn >= 1
        assert abs(drawn - share * limit) <= 1
    np.testing.assert_array_equal(rows, stratified(labels, limit, seed=4))
    assert rows.tolist() != stratified(labels, limit, seed=5).tolist()


def test_a_sample_of_nearly_all_and_of_fewer_than_classes() -> None:
    labels = np.arange(50, dtype=np.int32)
    assert len(stratified(labels, 7, 0)) == 7
    assert stratified(labels, 50, 0).tolist() == stratified(labels, 0, 0).tolist() == list(range(50))


def test_few_rows_lower_the_perplexity_with_a_warning_unless_it_was_asked_for() -> None:
    with pytest.warns(UserWarning, match="20 rows: the perplexity is 6.333, not 30"):
        assert fitted_to(settings(), 20, 8).perplexity == pytest.approx(19 / 3)
    with pytest.raises(EvaluationError, match="a perplexity of 10 needs 31 rows and there are 20"):
        fitted_to(settings(perplexity=10), 20, 8)
    with pytest.warns(UserWarning, match="UMAP takes 9 neighbours, not 15"):
        assert fitted_to(settings("umap"), 10, 8).neighbours == 9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        many = fitted_to(settings(), 91, 1280)
    assert (many.perplexity, many.pca) == (30, 50)
    assert fitted_to(settings(perplexity=2), 20, 1280).pca == 20
    assert fitted_to(settings(), 100, 50).pca == 0


@pytest.mark.parametrize("rows", [4, 5, 7])
def test_the_smallest_maps(tmp_path, rows) -> None:
    path = features_of(tmp_path / "f.h5", clusters(rows)[0])
    with pytest.warns(UserWarning, match="perplexity"):
        result = pool3.project(path, [tmp_path / "m.html", tmp_path / "m.png"], images=False)
    assert np.isfinite(result.places).all()
    assert 0 <= result.quality.trustworthiness <= 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "isomap"}, "unknown method 'isomap'"),
        ({"method": "pca", "perplexity": 5}, "pca has no perplexity"),
        ({"neighbours": 5}, "tsne has no neighbours"),
        ({"perplexity": 0.5}, "at least 1"),
        ({"perplexity": float("nan")}, "at least 1"),
        ({"method": "umap", "neighbours": 1}, "at least 2 neighbours"),
        ({"method": "umap", "min_dist": 2}, "between 0 and 1"),
        ({"pca": 1}, "2 components or more"),
        ({"seed": -1}, "a seed lies between"),
        ({"limit": -1}, "counted from 0"),
        ({"k": 0}, "counted from 0"),
        ({"limit": 3}, "3 rows make no map"),
        ({"backend": "magic"}, "unknown backend 'magic'"),
        ({"backend": "umap-learn"}, "does not have the method tsne; choose cuml or opentsne or sklearn"),
        ({"output": "map.svg"}, "does not end in .html or .png"),
        ({"output": ["a.png", "./a.png"]}, "named twice"),
        ({"output": "a.png", "source": "images"}, "no output shows images"),
    ],
)
def test_what_is_refused(grouped, tmp_path, monkeypatch, changes, said) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EvaluationError, match=said):
        pool3.project(grouped, **changes)
    assert not list(tmp_path.iterdir())


def test_outputs_are_not_written_over_anything(grouped, tmp_path) -> None:
    there = tmp_path / "map.png"
    there.write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        pool3.project(grouped, there, method="pca")
    with pytest.raises(OutputExistsError, match="itself"):
        pool3.project(grouped, coordinates=grouped, method="pca", overwrite=True)
    assert there.read_bytes() == b"mine"
    pool3.project(grouped, there, method="pca", overwrite=True)
    assert there.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SourceNotFoundError):
        pool3.project(grouped, tmp_path / "m.html", source=tmp_path / "none")
    assert not (tmp_path / "m.html").exists()


def test_features_that_are_no_numbers_are_an_error(tmp_path) -> None:
    features, _ = clusters(20)
    features[7, 3] = np.nan
    with pytest.raises(EvaluationError, match="row 7"):
        pool3.project(features_of(tmp_path / "f.h5", features), method="pca")


def test_rows_that_are_all_the_same_are_an_error(tmp_path) -> None:
    path = features_of(tmp_path / "f.h5", np.ones((40, 6)))
    for method in ("tsne", "pca"):
        with pytest.raises(EvaluationError, match=r"all 40 rows of .* have the same features"):
            pool3.project(path, method=method, pca=3, perplexity=5 if method == "tsne" else None)


@pytest.mark.slow
def test_umap_by_the_command_loads_no_tensorflow(photos, tmp_path) -> None:
    done = run(
        photos,
        *("-o", tmp_path / "m.png", "--method", "umap", "--neighbours", 6, "--json"),
        before="import atexit, sys; atexit.register(lambda: print('tensorflow' in sys.modules, file=sys.stderr))",
    )
    said = json.loads(done.stdout)
    assert (said["backend"], said["neighbours"], said["min_dist"]) == ("umap-learn", 6, 0.1)
    assert done.stderr == "False\n"


def test_a_file_without_labels_has_a_map_of_one_colour(tmp_path) -> None:
    path = features_of(tmp_path / "f.h5", clusters(30)[0])
    pool3.project(path, [tmp_path / "m.html", tmp_path / "m.png"], method="pca", images=False)
    html = (tmp_path / "m.html").read_text("utf-8")
    assert '"legend":[{"number":-1,"name":"no label","colour":"#8d8d8d","shape":"circle"}]' in html


HERE, GONE = Found(version="1"), Found(missing="is not here")


@pytest.mark.parametrize(
    ("method", "here", "taken", "reason"),
    [
        ("tsne", {"cuml", "opentsne"}, "cuml", "auto: cuML is installed"),
        ("tsne", {"opentsne"}, "opentsne", "auto: openTSNE is installed; cuML is not here"),
        ("tsne", set(), "sklearn", "scikit-learn is always there; cuML is not here; openTSNE is not here"),
        ("umap", {"umap-learn"}, "umap-learn", "auto: umap-learn is installed; cuML is not here"),
        ("pca", {"cuml", "opentsne"}, "sklearn", "auto: scikit-learn is always there"),
    ],
)
def test_auto_takes_the_quickest_that_is_here_and_says_why(method, here, taken, reason) -> None:
    found = {
        name: HERE if name in here | {"sklearn"} else GONE
        for name in ("cuml", "opentsne", "umap-learn", "sklearn")
    }
    choice = choose("auto", method, found)
    assert choice.backend == taken
    assert reason in choice.reason


def test_a_backend_asked_for_by_name_is_never_replaced() -> None:
    found = dict.fromkeys(("cuml", "opentsne", "umap-learn"), GONE) | {"sklearn": HERE}
    for backend, method, extra in (
        ("cuml", "tsne", "gpu"),
        ("opentsne", "tsne", "report"),
        ("auto", "umap", "umap"),
    ):
        with pytest.raises(MissingLibraryError, match=rf"is not here.*pool3\[{extra}\]"):
            choose(backend, method, found)


@pytest.mark.parametrize(
    ("library", "arguments", "said"),
    [
        ("openTSNE", ["-o", "m.html", "--backend", "opentsne"], "pool3[report]"),
        ("matplotlib", ["-o", "m.png"], "pool3[report]"),
        ("umap", ["-o", "m.png", "--method", "umap"], "pool3[umap]"),
        ("PIL", ["-o", "m.html", "--source", "."], "pool3[report]"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(photos, tmp_path, library, arguments, said) -> None:
    placed = [str(tmp_path / word) if word.startswith("m.") else word for word in arguments]
    done = run(photos, *placed, code=1, before=f"import sys; sys.modules['{library}'] = None")
    assert said in done.stderr
    assert not list(tmp_path.iterdir())


def test_without_pillow_a_page_has_no_pictures_and_says_so(photos, tmp_path) -> None:
    done = run(
        photos,
        *("-o", tmp_path / "m.html", "--method", "pca", "--json"),
        before="import sys; sys.modules['PIL'] = None",
    )
    assert json.loads(done.stdout)["images_shown"] == 0
    assert "Pillow" in done.stderr
