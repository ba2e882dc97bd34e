"""Pages: nothing of the data becomes markup, nothing is asked of a network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from jinja2 import ChoiceLoader, DictLoader, UndefinedError

from pool3.errors import StoreError
from pool3.pages import Scatter, write_page
from pool3.pages.colours import LIGHT, SHAPES, colour, shape
from pool3.pages.rendering import _environment, policy, render

HOSTILE = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "'\"&", "a\u2028b", "日本"]


def scatter(**changes: object) -> Scatter:
    settings = {
        "places": np.array([[0.0, 0], [2, 1], [1, 3]]),
        "ids": HOSTILE[:3],
        "classes": np.array([1, -1, 1]),
        "class_names": ("unused", "<b>bold</b>"),
    }
    return Scatter(**(settings | changes))


def add(text: str, monkeypatch) -> None:
    """Put a template beside the package's own, as ``any.html``."""
    loader = ChoiceLoader([DictLoader({"any.html": text}), _environment().loader])
    monkeypatch.setattr(_environment(), "loader", loader)
    monkeypatch.setattr(_environment(), "cache", None)


def page_of(data: dict[str, object], monkeypatch) -> str:
    """A page around the map, as a report would embed it."""
    text = (
        '{% extends "base.html" %}{% from "scatter.html" import scatter %}{% block content %}<h1>{{ title }}</h1>'
        '{{ scatter(data, "one", "first") }}{{ scatter(data, "two", "second", wheel="focus") }}{% endblock %}'
    )
    add(text, monkeypatch)
    return render("any.html", title=HOSTILE[0], styles=["scatter.css"], scripts=["scatter.js"], data=data)


class Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data) -> None:
        if self.elements:
            self.texts.setdefault(self.elements[-1][0], []).append(data)


def test_ids_labels_and_titles_stay_text_and_come_back_whole(monkeypatch) -> None:
    data = scatter().data()
    reader = Reader(page_of(data, monkeypatch))
    scripts = [attributes for tag, attributes in reader.elements if tag == "script"]
    assert [script.get("type") for script in scripts] == ["application/json", "application/json", None]
    assert not [tag for tag, _ in reader.elements if tag in ("img", "b")]
    assert not [a for _, attributes in reader.elements for a in attributes if a.startswith("on")]
    kept = [json.loads(text) for text in reader.texts["script"] if text.startswith('{"')]
    assert kept == [data, data]
    assert "".join(reader.texts["h1"]).startswith(HOSTILE[0])


def test_the_policy_names_just_what_is_in_the_page(monkeypatch) -> None:
    page = page_of(scatter().data(), monkeypatch)
    (said,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.partition(" ")[::2] for rule in said.replace("&#39;", "'").split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in said
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        texts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashes = [
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts
        ]
        assert hashes
        assert rules[name].split() == hashes
    assert "style-src" not in policy([], ["x"])
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert " style=" not in page


def test_a_name_that_a_template_lacks_is_an_error(monkeypatch) -> None:
    add('{% extends "base.html" %}{% block content %}{{ gone }}{% endblock %}', monkeypatch)
    with pytest.raises(UndefinedError, match="gone"):
        render("any.html", title="t")


def test_places_keep_their_proportions_and_point_up() -> None:
    data = scatter().data()
    x, y = np.array(data["x"]), np.array(data["y"])
    assert x.min() == y.min() == 0
    assert max(x.max(), y.max()) == (1 << 16) - 1
    np.testing.assert_allclose((x[1] - x[0]) / (y[0] - y[2]), 2 / 3, atol=1e-4)
    assert y[2] < y[1] < y[0]  # a screen counts downwards


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_and_equal_points(count) -> None:
    data = scatter(places=np.ones((count, 2)), ids=["a"] * count, classes=np.zeros(count, int)).data()
    assert data["x"] == data["y"] == [0] * count
    json.dumps(data)


def test_the_legend_has_the_classes_that_are_there_and_forty_look_different() -> None:
    assert [(entry["number"], entry["name"]) for entry in scatter().data()["legend"]] == [
        (1, "<b>bold</b>"),
        (-1, "no label"),
    ]
    assert len({(colour(i), shape(i)) for i in range(-1, 40)}) == 41
    assert {shape(i) for i in range(10)} == {SHAPES[0]}
    assert len(set(LIGHT)) == 10


def test_a_page_is_written_whole_or_not_at_all(tmp_path) -> None:
    write_page(tmp_path / "new" / "page.html", "日本 \udcff")
    assert (tmp_path / "new" / "page.html").read_text("utf-8") == "日本 \\udcff"
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write_page(tmp_path / "file" / "page.html", "")
