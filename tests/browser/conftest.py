"""A real browser for pages that pool3 writes: Debian's Chromium, driven by Playwright, `make test-browser`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")

Visit = Callable[..., Any]
"""``visit(path, width=…, height=…, dark=…)`` opens a page and gives Playwright's `Page`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The system's own browser with a new profile; none is downloaded."""
    from playwright.sync_api import sync_playwright

    named = os.environ.get("POOL3_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "no Chromium on the PATH: install the package chromium, or set POOL3_CHROMIUM to a browser"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium) -> Iterator[Visit]:
    """Opens pages; whatever they are, they ask for nothing outside themselves and the console stays empty."""
    complaints: list[str] = []
    contexts = []

    def open_page(path: Path, *, width: int = 1280, height: int = 800, dark: bool = False) -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        page = context.new_page()
        own = path.resolve().as_uri()

        def requested(request: Any) -> None:
            if request.url.split("#")[0] != own and not request.url.startswith("data:"):
                complaints.append(f"a request for {request.url[:200]}")

        page.on("request", requested)
        page.on("console", lambda message: complaints.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(own)
        page.wait_for_load_state("load")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints
