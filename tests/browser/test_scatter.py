"""The map of points in a browser: the right picture at each point, filters, keys, touch; two maps in one page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from jinja2 import ChoiceLoader, DictLoader
from PIL import Image

import pool3
from pool3.pages import Scatter, find_images, make_sprites, render, write_page
from pool3.pages.rendering import _environment
from tests.browser import looks
from tests.sourced import write_features

COLOURS = {0: (200, 30, 30), 1: (30, 200, 30), 2: (30, 30, 200), 3: (200, 200, 30)}
PLACES = np.array([[0.0, 0], [4, 0], [0, 3], [4, 3]])
"""Four corners; each image is of one colour, so that a picture can be told by a pixel."""

IDS = ("</script><script>alert(1)</script>", "<b>two</b>", "three", "four")
CLASSES = ("<i>cat</i>", "dog")

TEMPLATE = """{% extends "base.html" %}{% from "scatter.html" import scatter %}{% block content %}<h1>Two maps</h1>
{{ scatter(data, "one", "the first map") }}<h2>Below</h2>{{ scatter(data, "two", "the second map", wheel="focus") }}
{% endblock %}"""


@pytest.fixture
def page_file(tmp_path, monkeypatch) -> Path:
    images = np.stack([np.full((10, 14, 3), COLOURS[i], np.uint8) for i in range(4)])
    with pool3.open_features(write_features(tmp_path / "f.h5", images)) as file:
        sprites = make_sprites(find_images(file, images), np.arange(4))
    data = Scatter(
        places=PLACES,
        ids=IDS,
        classes=np.array([0, 1, 0, 1]),
        class_names=CLASSES,
        sprites=sprites,
        details=["", "a detail", "", ""],
    ).data()
    return write_maps(tmp_path / "page.html", data, monkeypatch)


def write_maps(path: Path, data: dict[str, object], monkeypatch) -> Path:
    """A page with two maps of the same points."""
    loader = ChoiceLoader([DictLoader({"any.html": TEMPLATE}), _environment().loader])
    monkeypatch.setattr(_environment(), "loader", loader)
    monkeypatch.setattr(_environment(), "cache", None)
    write_page(
        path, render("any.html", title="Maps", styles=["scatter.css"], scripts=["scatter.js"], data=data)
    )
    return path


def at(page, point: int, name: str = "one") -> tuple[float, float]:
    """Where a point is on the screen."""
    return tuple(
        page.evaluate(
            """([name, i]) => {
                const map = document.getElementById(name).scatter, box = map.canvas.getBoundingClientRect();
                const [x, y] = map.toScreen(i);
                return [box.left + x, box.top + y];
            }""",
            [name, point],
        )
    )


def tip(page, name: str = "one") -> dict[str, object] | None:
    """What is shown beside the pointer, once its picture is drawn; None: nothing."""
    if page.evaluate("(name) => document.querySelector(`#${name} .scatter-tip`).hidden", name):
        return None
    page.wait_for_function(
        "(name) => document.querySelector(`#${name} .scatter-picture`).dataset.shows", arg=name
    )
    shown = page.evaluate(
        """(name) => {
            const text = (part) => document.querySelector(`#${name} .scatter-${part}`).textContent;
            const picture = document.querySelector(`#${name} .scatter-picture`);
            return {id: text("id"), class: text("class"), detail: text("detail"), drawn: picture.toDataURL("image/png"),
                    size: [picture.width, picture.height], label: picture.getAttribute("aria-label")};
        }""",
        name,
    )
    drawn = Image.open(io.BytesIO(base64.b64decode(shown.pop("drawn").partition(",")[2]))).convert("RGB")
    return shown | {"colour": drawn.getpixel((drawn.width // 2, drawn.height // 2))}


def wait_for_zoom(page, least: float, name: str = "one") -> None:
    page.wait_for_function(
        """([name, least]) => {
            const map = document.getElementById(name).scatter;
            return map.scale > least * map.least;
        }""",
        arg=[name, least],
    )


def scale(page, name: str = "one") -> float:
    return page.evaluate(
        "(name) => { const map = document.getElementById(name).scatter; return map.scale / map.least; }", name
    )


def test_hover_shows_each_point_s_own_image_and_texts(visit, page_file) -> None:
    page = visit(page_file)
    for point in range(4):
        page.mouse.move(*at(page, point))
        shown = tip(page)
        assert shown is not None
        assert shown["id"] == IDS[point]
        assert shown["class"] == CLASSES[point % 2]
        assert shown["detail"] == ("a detail" if point == 1 else "")
        assert shown["size"] == [14, 10]
        assert np.abs(np.array(shown["colour"]) - COLOURS[point]).max() <= 6
        assert shown["label"] == f"image {IDS[point]}"
    x, y = at(page, 3)
    page.mouse.move(x - 60, y + 60)
    assert tip(page) is None


def test_a_filter_hides_a_class_in_one_map_alone(visit, page_file) -> None:
    page = visit(page_file)
    box = page.locator("#one").get_by_label(CLASSES[1])
    before = page.evaluate("document.querySelector('#one canvas').toDataURL()")
    box.uncheck()
    page.wait_for_function(
        "(before) => document.querySelector('#one canvas').toDataURL() !== before", arg=before
    )
    page.mouse.move(*at(page, 1))
    assert tip(page) is None
    page.mouse.move(*at(page, 2))
    assert tip(page)["id"] == IDS[2]
    page.locator("#one").get_by_role("button", name="None").click()
    page.mouse.move(*at(page, 2))
    assert tip(page) is None
    page.locator("#one").get_by_role("button", name="All", exact=True).click()
    page.mouse.move(*at(page, 1))
    assert tip(page)["id"] == IDS[1]
    page.locator("#two").scroll_into_view_if_needed()
    page.mouse.move(*at(page, 1, "two"))
    assert tip(page, "two")["id"] == IDS[1]


def test_wheel_and_drag(visit, page_file) -> None:
    page = visit(page_file)
    x, y = at(page, 3)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    wait_for_zoom(page, 1.5, "one")
    np.testing.assert_allclose(at(page, 3), (x, y), atol=1)  # what is under the pointer stays there
    page.mouse.down()
    page.mouse.move(x - 50, y + 20, steps=3)
    page.mouse.up()
    np.testing.assert_allclose(at(page, 3), (x - 50, y + 20), atol=1)
    page.locator("#one").get_by_role("button", name="Show all").click()
    assert scale(page) == pytest.approx(1)


def test_the_wheel_scrolls_past_a_map_that_waits_for_focus(visit, page_file) -> None:
    page = visit(page_file)
    page.locator("#two canvas").first.scroll_into_view_if_needed()
    page.mouse.move(*at(page, 0, "two"))
    top = page.evaluate("scrollY")
    page.mouse.wheel(0, -200)
    page.wait_for_function("(top) => scrollY < top", arg=top)
    assert scale(page, "two") == pytest.approx(1)
    page.locator("#two canvas").first.focus()
    page.mouse.move(*at(page, 0, "two"))
    page.mouse.wheel(0, -200)
    wait_for_zoom(page, 1.1, "two")


def test_everything_works_by_keyboard_and_is_spoken(visit, page_file) -> None:
    page = visit(page_file)
    stops = looks.tab_through(page)
    assert sum(stop["tag"] == "CANVAS" for stop in stops) == 2
    page.locator("#one canvas").first.focus()
    start = at(page, 0)
    said = page.locator("#one [role=status]")
    page.keyboard.press("n")
    assert tip(page)["id"] == IDS[0]
    assert said.text_content() == f"{CLASSES[0]} · {IDS[0]}"
    page.keyboard.press("n")
    assert said.text_content() == f"{CLASSES[1]} · {IDS[1]} · a detail"
    page.keyboard.press("p")
    page.keyboard.press("p")
    assert tip(page)["id"] == IDS[3]  # around the end
    page.keyboard.press("Shift+ArrowLeft")
    assert tip(page)["id"] == IDS[2]
    page.keyboard.press("Shift+ArrowDown")
    assert tip(page)["id"] == IDS[0]
    x, y = at(page, 0)
    page.keyboard.press("ArrowRight")
    np.testing.assert_allclose(at(page, 0), (x - 60, y), atol=1)
    page.keyboard.press("+")
    assert scale(page) == pytest.approx(1.4)
    page.keyboard.press("-")
    page.keyboard.press("-")
    assert scale(page) < 1
    page.keyboard.press("0")
    assert scale(page) == pytest.approx(1)
    np.testing.assert_allclose(at(page, 0), start, atol=1)
    page.keyboard.press("Escape")
    assert tip(page) is None


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (360, False), (360, True)])
def test_it_can_be_read(visit, page_file, width, dark) -> None:
    page = visit(page_file, width=width, dark=dark)
    looks.check_structure(page)
    looks.check_no_sideways_scroll(page)
    page.mouse.move(*at(page, 3))
    assert tip(page)["id"] == IDS[3]
    looks.check_contrast(page)
    box = page.locator("#one .scatter-tip").bounding_box()
    stage = page.locator("#one .scatter-stage").bounding_box()
    assert stage["x"] <= box["x"]
    assert box["x"] + box["width"] <= stage["x"] + stage["width"]


def test_two_fingers_zoom_and_a_tap_shows_the_image(visit, page_file) -> None:
    page = visit(page_file, width=400)
    x, y = at(page, 3)
    touch = page.context.new_cdp_session(page)

    def fingers(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": px, "y": py, "id": i} for i, (px, py) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", (x, y))
    fingers("touchEnd")
    assert tip(page)["id"] == IDS[3]
    fingers("touchStart", (150, y), (250, y))
    fingers("touchMove", (100, y), (300, y))
    fingers("touchEnd")
    assert scale(page) == pytest.approx(2, rel=0.05)


def test_many_classes_are_searched_and_points_without_pictures_have_none(
    visit, tmp_path, monkeypatch
) -> None:
    count = 45
    data = Scatter(
        places=np.stack(np.divmod(np.arange(count), 9), axis=1),
        ids=[f"id {i}" for i in range(count)],
        classes=np.arange(count),
        class_names=[f"class {i:02}" for i in range(count)],
    ).data()
    page = visit(write_maps(tmp_path / "many.html", data, monkeypatch))
    assert page.locator("#one .scatter-classes label").count() == count
    page.locator("#one input[type=search]").fill("CLASS 1")
    assert page.locator("#one .scatter-classes label:visible").count() == 10
    page.locator("#one").get_by_role("button", name="None").click()  # of those ten
    page.locator("#one canvas").first.focus()
    seen = set()
    for _ in range(count):
        page.keyboard.press("n")
        seen.add(page.locator("#one .scatter-id").text_content())
    assert seen == {f"id {i}" for i in range(count) if not 10 <= i < 20}
    assert page.locator("#one .scatter-picture").is_hidden()
    looks.check_structure(page)
