"""Templates → pages that need no network and forbid it.

Ids, labels and paths are hostile: templates escape all that they are given, data for scripts goes through
``tojson`` (which escapes ``<``, ``>``, ``&`` and ``'``), and scripts put text in by ``textContent`` alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pool3.errors import MissingLibraryError
from pool3.store.disk import written_aside
from pool3.store.outputs import writing

if TYPE_CHECKING:
    from jinja2 import Environment


def render(
    template: str, *, title: str, styles: Sequence[str] = (), scripts: Sequence[str] = (), **context: Any
) -> str:
    """Render a template of ``pages/templates`` that extends ``base.html``.

    The page's Content-Security-Policy allows images of ``data:`` and the styles and scripts that are named here,
    by their SHA-256 (Content Security Policy Level 3, W3C), and nothing else: no request, no other script, and no
    ``style`` attribute. Scripts may set styles, and SVG has attributes such as ``fill`` and ``width``.

    Args:
        template: its name.
        title: of the page.
        styles: files of ``pages/assets``, after ``page.css``.
        scripts: files of ``pages/assets``.
        context: what the template names; a name that is missing is an error.

    Raises:
        MissingLibraryError: Jinja2 is not installed.
    """
    style_texts = [_asset(name) for name in ("page.css", *styles)]
    script_texts = [_asset(name) for name in scripts]
    page: str = (
        _environment()
        .get_template(template)
        .render(
            title=title,
            styles=[_inside_element(text) for text in style_texts],
            scripts=[_inside_element(text) for text in script_texts],
            policy=policy(style_texts, script_texts),
            **context,
        )
    )
    return page


def policy(styles: Sequence[str], scripts: Sequence[str]) -> str:
    """The Content-Security-Policy that allows these texts, images of ``data:`` and nothing else."""
    rules = ["default-src 'none'", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    for name, texts in (("style-src", styles), ("script-src", scripts)):
        if texts:
            rules.append(" ".join([name, *map(_digest, texts)]))
    return "; ".join(rules)


def write_page(output: Path, page: str) -> None:
    """Write a page as UTF-8; whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(output) as file:
            # A path on the command line may hold bytes that are no UTF-8.
            file.write(page.encode("utf-8", "backslashreplace"))


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _inside_element(text: str) -> Any:
    from markupsafe import Markup

    if "</" in text:
        raise ValueError("an asset holds '</', which could end its element; write it as '<\\/'")
    return Markup(text)  # the project's own file


@cache
def _asset(name: str) -> str:
    return files("pool3.pages").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingLibraryError(
            f"pages need Jinja2, which cannot be imported ({error}); pip install jinja2"
        ) from error
    environment = Environment(
        loader=PackageLoader("pool3.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    return environment
