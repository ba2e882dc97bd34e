"""The report: its figures are those of the files and the classifier, whatever the files hold."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pool3
from pool3.classify import ClassifyResult, classify
from pool3.errors import EvaluationError, OutputExistsError, SourceError
from pool3.reporting.choosing import confusions, examples, worst
from pool3.reporting.matrix import MOST_CLASSES, drawn
from pool3.texts import printable
from tests.reported import CLASSES, EACH, write_file, write_images
from tests.store.examples import write
from tests.store.make_fixture import fixture
from tests.store.tampering import change

ELEMENTS = frozenset(
    """a b bdi body br caption dd details div dl dt figcaption figure footer h1 h2 h3 head header html img li link main
    meta nav p rect section span strong style summary svg table tbody td th thead title tr ul""".split()  # noqa: SIM905
)
"""All that a report without a map is made of."""

VOID = {"meta", "link", "img", "br", "input", "rect"}


class Page(HTMLParser):
    """What a browser would make of a page: elements, their attributes, the text, and whether all are closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self.text += " " if tag in ("td", "th") else ""

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def command(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "pool3.cli", "report", *map(str, arguments)], capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path]:
    """A file to train on and one to test on, two failures in the latter, with hostile names throughout."""
    folder = tmp_path_factory.mktemp("files")
    train = write_file(folder / "train.h5", write_images(folder / "a"), seed=1)
    test = write_file(folder / "test <b>.h5", write_images(folder / "b"), seed=2, spread=3, failed=2)
    return train, test


def test_the_command_says_what_the_classifier_says(files, tmp_path) -> None:
    train, test = files
    done = command(
        train, test, "-o", tmp_path / "out.html", "--no-tsne", "-C", "0.5", "--backend", "sklearn", "--json"
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    expected = classify(train, test, C=0.5, backend="sklearn").to_dict()
    found = said["classification"]
    timed = ("fit_seconds", "predict_seconds")
    assert {name: found[name] for name in expected if name not in timed} == {
        name: expected[name] for name in expected if name not in timed
    }
    wrong = found["n_test"] - np.trace(found["confusion_matrix"])
    assert 0 < len(said["mistakes"]) == min(25, wrong)
    assert found["mistakes"] == wrong
    assert sum(one["count"] for one in found["confusions"]) == wrong
    assert [file["role"] for file in said["files"]] == ["train", "test"]
    assert [file["failures"] for file in said["files"]] == [0, 2]
    assert said["bytes"] == (tmp_path / "out.html").stat().st_size
    assert said["no_projection"] == "left out on request"
    page = read(tmp_path / "out.html")
    for value in (found["accuracy"], *found["accuracy_interval"], *(m["margin"] for m in said["mistakes"])):
        assert f"{value:.4f}"[:5] in page.text
    for row in found["confusion_matrix"]:
        for count in filter(None, row):
            assert str(count) in page.text
    assert len(page.all("img")) == said["pictures"] == len(said["mistakes"]) + 4 * 8


def test_hostile_names_are_text_and_nothing_else(files, tmp_path) -> None:
    train, test = files
    pool3.report(train, test, output=tmp_path / "out.html", tsne=False, backend="sklearn", limit=100)
    page = read(tmp_path / "out.html")
    assert {tag for tag, _ in page.elements} <= ELEMENTS
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert not (attributes.get("src") or "data:").removeprefix("data:").startswith(("http", "x"))
    with pool3.open_features(test) as file:
        assert len(file.label_names) == len(CLASSES)
        assert all(printable(name) in page.text for name in file.label_names)
        assert all(printable(failure.id) in page.text for failure in file.failures)
        assert "<i>0</i>\\u202e.png" in page.text
        result = classify(train, test, backend="sklearn")
        for mistake in worst(result, file, 25):
            assert printable(mistake.id) in page.text
    raw = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert not {"\u202e", "\x07"} & set(raw)
    assert "1337" not in page.text  # 7 * 191, which a template of a template would compute
    assert all(image["alt"] for image in page.all("img"))


def test_each_picture_is_of_its_row(files, tmp_path) -> None:
    """The classes have a colour each; a mistake is shown in the colour of its true class."""
    from tests.pages.test_images import opened
    from tests.reported import COLOURS

    train, test = files
    result = pool3.report(train, test, output=tmp_path / "out.html", tsne=False, backend="sklearn", limit=100)
    colour = {name[0]: COLOURS[i] for i, name in enumerate(CLASSES)}
    pictures = read(tmp_path / "out.html").all("img")
    assert len(pictures) == result.pictures
    shown = zip(pictures, [mistake.true for mistake in result.mistakes], strict=False)
    for image, true in shown:
        pixel = opened(image["src"])[0, 0].astype(int)
        assert np.abs(pixel - colour[true[0]]).max() < EACH or tuple(pixel) == (90, 90, 90)


def test_one_file_is_split_and_the_worst_come_from_the_tested_half(files, tmp_path) -> None:
    path = files[1]
    result = pool3.report(path, output=tmp_path / "out.html", tsne=False, backend="sklearn", seed=3)
    expected = classify(path, seed=3, backend="sklearn")
    assert {mistake.row for mistake in result.mistakes} <= set(expected.test_rows.tolist())
    assert result.classification["accuracy"] == expected.accuracy
    assert [file["role"] for file in result.files] == ["all"]


@pytest.mark.parametrize("split", [False, True])
def test_the_map_has_the_tested_rows_with_their_classes_and_mistakes(files, tmp_path, split) -> None:
    train, test = files
    inputs = (test,) if split else (train, test)
    result = pool3.report(*inputs, output=tmp_path / "out.html", backend="sklearn", seed=1)
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    data = json.loads(page.split('<script type="application/json" id="rows-data">')[1].split("</script>")[0])
    tested = result.classification["n_test"]
    assert result.projection["rows"] == len(data["ids"]) == tested < 60
    assert f"{result.projection['trustworthiness']:.4f}" in page
    with pool3.open_features(test) as file:
        expected = classify(*inputs, backend="sklearn", seed=1)
        assert data["ids"] == [printable(file.ids[row]) for row in expected.test_rows]
        assert data["classes"] == file.labels[expected.test_rows].tolist()
        for said, truth, predicted in zip(
            data["details"], file.labels[expected.test_rows], expected.predictions, strict=True
        ):
            wrong = expected.label_names[predicted]
            assert said == ("" if wrong == file.label_names[truth] else f"predicted: {printable(wrong)}")
    assert len(data["sprites"]["sheets"]) == 1
    assert min(data["sprites"]["place"]) == 0


def test_a_map_of_some_rows(files, tmp_path) -> None:
    done = command(*files, "-o", tmp_path / "out.html", "--points", "20", "--backend", "sklearn", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["projection"]["rows"] == 20
    assert "20 of 49 rows by t-SNE" in (tmp_path / "out.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("classes", "why"), [(0, "has a label"), (1, "of one class")])
def test_what_cannot_be_classified_is_reported_all_the_same(tmp_path, classes, why) -> None:
    folder = tmp_path / "images"
    place = folder if classes == 0 else folder / "only"
    place.mkdir(parents=True)
    for i in range(9):
        Image.fromarray(np.full((8, 8, 3), 20 * i, np.uint8)).save(place / f"{i}.png")
    path = write_file(tmp_path / "f.h5", folder)
    done = command(path, "-o", tmp_path / "out.html", "--no-tsne", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["classification"] is None
    assert why in said["no_classification"]
    page = read(tmp_path / "out.html")
    assert said["no_classification"] in page.text
    assert len(page.all("img")) == said["pictures"] == (9 if classes == 0 else 8)
    assert "every image became a row" in page.text


def test_no_classifier_and_no_pictures_on_request(files, tmp_path) -> None:
    done = command(*files, "-o", tmp_path / "out.html", "--no-tsne", "--no-classify", "--limit", "0")
    assert done.returncode == 0, done.stderr
    page = read(tmp_path / "out.html")
    assert not page.all("img")
    assert "left out on request" in page.text
    assert "no classifier: left out on request" in done.stderr


def test_no_mistake_at_all(tmp_path) -> None:
    path = write_file(tmp_path / "f.h5", write_images(tmp_path / "images"), spread=0.01)
    result = pool3.report(path, output=tmp_path / "out.html", tsne=False, backend="sklearn")
    assert result.classification["accuracy"] == 1
    assert not result.mistakes
    assert "Every tested row was predicted right." in read(tmp_path / "out.html").text


def test_many_failures_are_counted_and_some_are_listed(tmp_path) -> None:
    path = write_file(tmp_path / "f.h5", write_images(tmp_path / "images"), failed=140)
    result = pool3.report(path, output=tmp_path / "out.html", tsne=False, backend="sklearn")
    assert result.files[0]["failures"] == 140
    page = read(tmp_path / "out.html")
    assert "The first 100 of 140" in page.text
    assert page.text.count("gone <i>") == 100
    assert "140 of " in page.text


def test_images_that_moved_are_found_by_their_source_and_missed_without(tmp_path) -> None:
    folder = write_images(tmp_path / "images")
    path = write_file(tmp_path / "f.h5", folder)
    folder = folder.rename(tmp_path / "elsewhere")
    without = pool3.report(path, output=tmp_path / "a.html", tsne=False, backend="sklearn")
    assert without.pictures == 0
    assert "no images are shown" in without.picture_notes[0]
    assert "no picture" in read(tmp_path / "a.html").text
    (next((folder / CLASSES[2]).iterdir())).unlink()
    given = pool3.report(path, output=tmp_path / "b.html", tsne=False, backend="sklearn", source=str(folder))
    assert given.pictures > 20
    done = command(path, "-o", tmp_path / "c.html", "--no-tsne", "--source", tmp_path / "nowhere")
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert not (tmp_path / "c.html").exists()


def test_what_a_file_does_not_record_is_said(tmp_path) -> None:
    result = pool3.report(fixture(1), output=tmp_path / "out.html", tsne=False, classifier=False)
    assert result.files[0]["timing"] is None
    assert "was not recorded in this file" in read(tmp_path / "out.html").text


def test_where_the_time_went(tmp_path) -> None:
    path = write_file(tmp_path / "f.h5", write_images(tmp_path / "images"))
    timing = {
        "images": 49,
        "seconds": 10.0,
        "stages": {"startup": 2.0, "wait": 3.0, "forward": 4.0, "read": 0.5, "write": 0.25},
    }
    change(path, lambda file: file.attrs.__setitem__("timing", json.dumps(timing)))
    result = pool3.report(path, output=tmp_path / "out.html", tsne=False, classifier=False)
    assert result.files[0]["blog_ratio"] == pytest.approx(7 * 0.03)
    assert "43% of the time" in result.files[0]["advice"]
    text = " ".join(read(tmp_path / "out.html").text.split())
    assert "49 images in 10.0 s; once started 7.0 images/s, 0.21 × the blog’s 33.3." in text
    for line in ("the network 4.00 40.0 %", "waiting for images 3.00 30.0 %", "anything else 1.00 10.0 %"):
        assert line in text
    assert "beside these: reading and hashing images 0.50 5.0 %" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--limit", "-1"], "0 or more"),
        (["--points", "1"], "at least 2 points"),
        (["--train-source", "x"], "one source"),
        (["--model", "tree"], "unknown model"),
        (["--grid", "C"], "NAME=V"),
    ],
)
def test_wrong_options_are_said_before_any_work(files, tmp_path, arguments, said) -> None:
    done = command(files[0], "-o", tmp_path / "out.html", *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.html").exists()


def test_nothing_is_overwritten_unasked(files, tmp_path) -> None:
    output = tmp_path / "out.html"
    output.write_text("mine")
    with pytest.raises(OutputExistsError):
        pool3.report(files[0], output=output, tsne=False)
    with pytest.raises(OutputExistsError):
        pool3.report(files[0], output=files[0], tsne=False, overwrite=True)
    with pytest.raises(EvaluationError, match="name two files"):
        pool3.report(files[0], output=output, predictions=output, tsne=False, overwrite=True)
    assert output.read_text() == "mine"
    pool3.report(files[0], output=output, tsne=False, overwrite=True, backend="sklearn")
    assert output.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_source_that_was_named_must_be_there(files, tmp_path) -> None:
    with pytest.raises(SourceError):
        pool3.report(*files, output=tmp_path / "out.html", tsne=False, train_source="nowhere")


def result_of(truth: list[int], predicted: list[int], decision: np.ndarray | None) -> ClassifyResult:
    count = len(truth)
    return ClassifyResult(
        accuracy=0.0, accuracy_interval=(0, 0), n_train=1, n_test=count, skipped_unlabelled=0,
        label_names=("cat", "dög", "[bold]"), per_class=(), confusion_matrix=np.zeros((3, 3), np.int64),
        predictions=np.array(predicted, np.int32), decision=decision, test_rows=np.array(truth, np.int64),
        backend="", backend_version="", backend_reason="", model="svc", parameters={}, grid=None, kernel="", C=1.0,
        fit_seconds=0.0, predict_seconds=0.0,
    )  # fmt: skip


def test_the_worst_mistake_has_the_widest_margin(tmp_path) -> None:
    """Rows 1, 2, 3 of the example have the classes 0, 1, 2; row 5 the class 0 again."""
    rows, predicted = [1, 2, 3, 5], [1, 1, 0, 2]
    decision = np.array([[1.0, 2, 0], [0, 9, 0], [5, 0, 1.5], [0, 0, 3.5]])
    with pool3.open_features(write(tmp_path / "f.h5")) as file:
        found = worst(result_of(rows, predicted, decision), file, 25)
        assert [(m.row, m.true, m.predicted, m.margin) for m in found] == [
            (3, "[bold]", "cat", 3.5),
            (5, "cat", "[bold]", 3.5),
            (1, "cat", "dög", 1.0),
        ]
        assert [m.id for m in found] == [file.ids[row] for row in (3, 5, 1)]
        assert [m.row for m in worst(result_of(rows, predicted, decision), file, 1)] == [3]
        unranked = worst(result_of(rows, predicted, None), file, 25)
        assert [(m.row, m.margin) for m in unranked] == [(1, None), (3, None), (5, None)]


def test_confusions_are_counted_off_the_diagonal() -> None:
    found = confusions(("a", "b", "c"), np.array([[9, 1, 0], [4, 0, 0], [0, 1, 0]]))
    assert [(one.true, one.predicted, one.count, one.share) for one in found] == [
        ("b", "a", 4, 1.0),
        ("a", "b", 1, 0.1),
        ("c", "b", 1, 1.0),
    ]


def test_shades_grow_with_the_root_of_the_share() -> None:
    counts = np.array([[81, 1, 18], [0, 0, 0], [0, 25, 75]])
    matrix = drawn(("a", "b", "c"), counts)
    assert [[cell.level for cell in row] for row in matrix.rows] == [[9, 1, 5], [0, 0, 0], [0, 5, 9]]
    assert [[cell.count for cell in row] for row in matrix.rows] == counts.tolist()
    assert not matrix.dense
    assert matrix.left_out == 0


def test_a_large_matrix_keeps_the_classes_with_the_most_mistakes() -> None:
    count = MOST_CLASSES + 30
    counts = np.diag(np.full(count, 5))
    counts[7, 140] = 3
    counts[np.arange(20, 139), np.arange(21, 140)] = 1
    matrix = drawn([f"c{i}" for i in range(count)], counts)
    assert (len(matrix.names), matrix.left_out, matrix.dense) == (MOST_CLASSES, 30, True)
    assert {"c7", "c140", "c50"} <= set(matrix.names)
    assert "c0" not in matrix.names
    assert matrix.names == sorted(matrix.names, key=lambda name: int(name[1:]))
    i, j = matrix.names.index("c7"), matrix.names.index("c140")
    assert matrix.rows[i][j].count == 3


def test_examples_are_spread_over_each_class(tmp_path) -> None:
    with pool3.open_features(write(tmp_path / "f.h5")) as file:
        found = examples(file, 100)
        assert [some.name for some in found] == list(file.label_names)
        for number, some in enumerate(found):
            of_class = np.flatnonzero(file.labels == number).tolist()
            assert some.count == len(of_class)
            assert set(some.rows) <= set(of_class)
            assert {of_class[0], of_class[-1]} <= set(some.rows)
            assert [file.ids[row] for row in some.rows] == list(some.ids)
        assert [len(some.rows) for some in examples(file, 6)] == [2, 2, 2]
        assert [len(some.rows) for some in examples(file, 2)] == [1, 1]
        assert examples(file, 0) == []
