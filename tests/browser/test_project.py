"""The page of pool3 project in a browser, as its command writes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.browser import looks
from tests.browser.test_scatter import at, tip
from tests.sourced import write_features

CLASSES = ("<script>alert(1)<", "plain")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("project")
    for i in range(24):
        folder = root / "images" / CLASSES[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((70, 80, 3), colour_of(i), np.uint8)).save(folder / f"{i:02}<b>.png")
    features = write_features(root / "f.h5", root / "images")
    (root / "images" / "plain" / "23<b>.png").unlink()
    command = ["pool3", "project", str(features), "-o", str(root / "map.html"), "--perplexity", "4"]
    script = "import sys; from pool3.cli import main; sys.argv = sys.argv[1:]; main()"
    subprocess.run([sys.executable, "-c", script, *command], check=True, capture_output=True)
    return root / "map.html"


def colour_of(number: int) -> tuple[int, int, int]:
    return (10 * number, 250 - 10 * number, 90)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_page_of_a_projection(visit, page_file, width, dark) -> None:
    page = visit(page_file, width=width, dark=dark)
    looks.check_structure(page)
    looks.check_no_sideways_scroll(page)
    looks.check_contrast(page)
    looks.tab_through(page)
    page.evaluate("scrollTo(0, 0)")
    assert page.locator("p.note").text_content().startswith("1 of 24 images are not shown: 1 missing")
    # Rows stand in the order of the classes' folders.
    for row in (0, 5, 22):
        page.keyboard.press("Escape")
        page.mouse.move(*at(page, row, "map"))
        shown = tip(page, "map")
        number = int(shown["id"].split("/")[1][:2])
        assert shown["class"] == CLASSES[number % 2]
        assert shown["id"].startswith(f"{shown['class']}/")
        assert np.abs(np.array(shown["colour"]) - colour_of(number)).max() <= 6
        assert shown["size"] == [80, 70]
    page.locator("#map").get_by_label(CLASSES[0]).uncheck()
    page.mouse.move(0, 0)
    page.mouse.move(*at(page, 0, "map"))
    assert tip(page, "map") is None
