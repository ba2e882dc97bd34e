"""The report in a browser: nothing runs that should not, and everybody can read it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import pool3
from tests.browser import looks
from tests.reported import write_file, write_images
from tests.store.tampering import change

TIMING = {
    "images": 49,
    "seconds": 10.0,
    "stages": {"startup": 2.0, "compile": 0.5, "wait": 1.5, "forward": 4.0, "seal": 0.2, "read": 0.5},
}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    """Two files with hostile names, mistakes, failures, times, and a map."""
    folder = tmp_path_factory.mktemp("report")
    train = write_file(folder / "train.h5", write_images(folder / "a"), seed=1)
    test = write_file(folder / "test <i>.h5", write_images(folder / "b"), seed=2, spread=3, failed=2)
    for path in (train, test):
        change(path, lambda file: file.attrs.__setitem__("timing", json.dumps(TIMING)))
    output = folder / "report.html"
    pool3.report(train, test, output=output, backend="sklearn", grid={"C": [0.1, 1.0]}, folds=2)
    return output


@pytest.fixture(scope="module")
def wide_file(tmp_path_factory) -> Path:
    """Sixty classes."""
    folder = tmp_path_factory.mktemp("wide")
    path = write_file(folder / "f.h5", write_images(folder / "images", classes=60, each=4), spread=2)
    pool3.report(path, output=folder / "report.html", backend="sklearn", limit=90)
    return folder / "report.html"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_can_be_read(visit, page_file, width, dark) -> None:
    page = visit(page_file, width=width, dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    looks.check_no_sideways_scroll(page)
    looks.check_contrast(page)
    looks.check_structure(page)
    assert page.locator("nav a").count() >= 6
    assert page.locator("header, main, footer").count() == 3


def test_hostile_names_are_shown_and_do_nothing(visit, page_file) -> None:
    page = visit(page_file)
    page.wait_for_timeout(300)
    assert page.evaluate("window.pwned") is None
    text = page.evaluate("document.body.textContent")
    assert "<script>window.pwned=1" in text
    assert "onmouseover='window.pwned=1'" in text
    assert "\u202e" not in page.content()
    names = page.locator("table.matrix tbody th").all_inner_texts()
    assert len(names) == 4
    page.locator("table.matrix td.wrong").first.hover()
    assert page.evaluate("window.pwned") is None


def test_a_point_of_the_map_shows_its_image(visit, page_file) -> None:
    page = visit(page_file)
    canvas = page.locator("#rows canvas[tabindex]")
    canvas.scroll_into_view_if_needed()
    x, y = page.evaluate(
        """() => {
            const map = document.getElementById("rows").scatter, box = map.canvas.getBoundingClientRect();
            const [x, y] = map.toScreen(0);
            return [box.left + x, box.top + y];
        }"""
    )
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    tip = page.locator("#rows .scatter-tip")
    tip.wait_for(state="visible")
    looks.wait_until(
        page,
        """() => {
            const picture = document.querySelector("#rows .scatter-picture");
            const pixels = picture.getContext("2d").getImageData(0, 0, picture.width, picture.height).data;
            return pixels.some((value, i) => i % 4 < 3 && value > 40);
        }""",
    )


def test_everything_is_reached_by_keyboard(visit, page_file) -> None:
    page = visit(page_file)
    stops = [stop["tag"] for stop in looks.tab_through(page)]
    assert {"A", "DIV", "CANVAS", "BUTTON", "SUMMARY"} <= set(stops)
    page.locator("nav a", has_text="Failures").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.getElementById('failures').getBoundingClientRect().top < innerHeight")
    assert page.locator("details[open]").count() == 0
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == 1


def test_a_matrix_of_many_classes_scrolls_in_its_box(visit, wide_file) -> None:
    page = visit(wide_file, width=390)
    looks.check_no_sideways_scroll(page)
    box = page.locator(".matrix-box")
    box.focus()
    for key in ("ArrowRight", "ArrowDown"):
        for _ in range(4):
            page.keyboard.press(key)
    looks.wait_until(page, "document.querySelector('.matrix-box').scrollLeft > 20")
    looks.wait_until(page, "document.querySelector('.matrix-box').scrollTop > 20")
    # The names of the classes stay in sight.
    offset = page.evaluate(
        """() => {
            const box = document.querySelector(".matrix-box").getBoundingClientRect();
            return document.querySelector(".matrix tbody th").getBoundingClientRect().left - box.left;
        }"""
    )
    assert abs(offset) < 3
    looks.check_contrast(page)
    looks.check_structure(page)


def test_it_prints(visit, page_file) -> None:
    """Without what only a screen can use, and in the light colours."""
    page = visit(page_file, dark=True)
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("details dl").first.is_visible()
    pdf = page.pdf(format="A4")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 15


def test_it_stays_small(page_file, wide_file) -> None:
    assert page_file.stat().st_size < 500_000
    assert wide_file.stat().st_size < 500_000
