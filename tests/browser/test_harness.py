"""The harness finds what it is there to find."""

from __future__ import annotations

import pytest

from tests.browser import looks

GOOD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Good</title>
<style>:focus-visible {{ outline: 2px solid }}</style>
<main><h1>Good</h1><a href="#here">here</a><p id="here">text</p>{}</main></html>"""


@pytest.fixture
def page_of(visit, tmp_path):
    def write(body: str = "", **window: object):
        path = tmp_path / "page.html"
        path.write_text(GOOD.format(body), encoding="utf-8")
        return visit(path, **window)

    return write


@pytest.mark.parametrize("dark", [False, True])
def test_a_good_page_passes(page_of, dark) -> None:
    page = page_of("<style>:root {color-scheme: light dark}</style>", dark=dark)
    looks.check_structure(page)
    looks.check_no_sideways_scroll(page)
    assert looks.check_contrast(page) > looks.LEAST_CONTRAST
    assert [stop["tag"] for stop in looks.tab_through(page)] == ["A"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<h1>Another</h1>", "h1: 2"),
        ("<h3>Too deep</h3>", "skips a level"),
        ("<img src='data:,'>", "no alt"),
        ("<svg></svg>", "without a name"),
        ("<table><caption>of</caption><tr><th>head</th></tr></table>", "no scope"),
        ("<table><tr><th scope=row>head</th></tr></table>", "no caption"),
        ("<button></button>", "control without a name"),
        ("<p id=here></p>", "twice: id here"),
        ("<a href='#gone'>gone</a>", "leads nowhere"),
    ],
)
def test_what_a_screen_reader_misses_is_found(page_of, body, problem) -> None:
    page = page_of(body)
    with pytest.raises(AssertionError, match=problem):
        looks.check_structure(page)


def test_faint_text_and_wide_pages_are_found(page_of) -> None:
    page = page_of("<div style='width: 2000px; background: #ccc'><i style='color: #888'>faint</i></div>")
    with pytest.raises(AssertionError, match="faint"):
        looks.check_contrast(page)
    with pytest.raises(AssertionError, match="2000px"):
        looks.check_no_sideways_scroll(page)


def test_focus_that_is_not_shown_is_found(page_of) -> None:
    page = page_of("<style>button:focus { outline: none }</style><button>press</button>")
    with pytest.raises(AssertionError, match="press"):
        looks.tab_through(page)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("<script>console.warn('careful')</script>", "console warning: careful"),
        ("<script>nothing.there</script>", "nothing is not defined"),
        ("<img alt='' src='other.png'>", "a request for file:"),
        ("<script>alert('hello')</script>", "dialog: hello"),
    ],
)
def test_what_a_page_does_is_noticed(pytester_page, body, complaint) -> None:
    assert complaint in pytester_page(body)


@pytest.fixture
def pytester_page(chromium, tmp_path):
    """What the fixture `visit` complains of, for a page that it should complain of."""
    from tests.browser.conftest import visit

    def complaints(body: str) -> str:
        path = tmp_path / "page.html"
        path.write_text(GOOD.format(body), encoding="utf-8")
        visiting = visit.__wrapped__(chromium)
        next(visiting)(path).wait_for_timeout(50)
        with pytest.raises(AssertionError) as error:
            next(visiting)
        return str(error.value)

    return complaints
