"""What a page must be for people who read it in the dark, on a phone, by keyboard or by ear."""

from __future__ import annotations

import time
from typing import Any

LEAST_CONTRAST = 4.5
"""Of text with what is behind it: WCAG 2.2, 1.4.3, level AA."""

_CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((value, i) => i < 3 ? value : value / 255);
  };
  const over = (top, below, alpha) => [0, 1, 2].map(i => top[i] * alpha + below[i] * (1 - alpha));
  const luminance = colour => {
    const [r, g, b] = colour.map(value => value / 255)
      .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    let below = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
    for (const layer of layers.reverse()) below = over(layer, below, layer[3]);
    return below;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement, style = getComputedStyle(element);
    if (!node.data.trim() || !element.getClientRects().length || style.visibility !== "visible") continue;
    const below = behind(element);
    const colour = rgba(element instanceof SVGElement ? style.fill : style.color);
    let alpha = colour[3];
    for (let at = element; at; at = at.parentElement) alpha *= Number(getComputedStyle(at).opacity);
    const [low, high] = [luminance(over(colour, below, alpha)), luminance(below)].sort((a, b) => a - b);
    found.push({ratio: (high + 0.05) / (low + 0.05), tag: element.tagName, class: element.className,
                text: node.data.trim().slice(0, 40), colour, below});
  }
  return found;
}"""

_STRUCTURE = """() => {
  const all = selector => [...document.querySelectorAll(selector)];
  const shown = element => element.outerHTML.slice(0, 160);
  const problems = [];
  if (!document.documentElement.lang) problems.push("html has no lang");
  if (!document.title) problems.push("no title");
  if (all("main").length !== 1) problems.push("main landmarks: " + all("main").length);
  if (all("h1").length !== 1) problems.push("h1: " + all("h1").length);
  let level = 0;
  for (const heading of all("h1, h2, h3, h4, h5, h6")) {
    const own = Number(heading.tagName[1]);
    if (own > level + 1) problems.push("a heading skips a level: " + shown(heading));
    if (!heading.textContent.trim()) problems.push("an empty heading: " + shown(heading));
    level = own;
  }
  const named = element => (element.getAttribute("aria-label") || element.textContent).trim()
    || element.getAttribute("aria-labelledby") || (element.labels && element.labels.length);
  for (const image of all("img")) if (!image.hasAttribute("alt")) problems.push("no alt: " + shown(image));
  for (const art of all("svg, canvas"))
    if (art.getAttribute("aria-hidden") !== "true" && !art.getAttribute("aria-label")
        && !art.getAttribute("aria-labelledby")) problems.push("a drawing without a name: " + shown(art));
  for (const head of all("th")) if (!head.scope) problems.push("no scope: " + shown(head));
  for (const table of all("table")) {
    if (!table.caption && !table.getAttribute("aria-labelledby")) problems.push("no caption: " + shown(table));
    if (!table.querySelector("th")) problems.push("no header cell: " + shown(table));
  }
  for (const control of all("a[href], button, select, input, summary"))
    if (!named(control)) problems.push("a control without a name: " + shown(control));
  const ids = all("[id]").map(element => element.id);
  for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) problems.push("twice: id " + id);
  for (const link of all("a[href^='#']"))
    if (!document.getElementById(decodeURIComponent(link.hash.slice(1))))
      problems.push("leads nowhere: " + shown(link));
  return problems;
}"""

_FOCUSED = """() => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const style = getComputedStyle(element);
  const marked = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
  return {html: element.outerHTML.slice(0, 160), tag: element.tagName, id: element.id, marked};
}"""

_FOCUSABLE = """() => [...document.querySelectorAll(
  "a[href], button, select, input, textarea, summary, [tabindex='0']")]
  .filter(element => !element.disabled && element.checkVisibility()).length"""


def wait_until(page: Any, expression: str, seconds: float = 5.0) -> None:
    """Wait for a JavaScript expression to be true. (Playwright's own waiting needs `eval`, which pages forbid.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"still false: {expression}"
        page.wait_for_timeout(20)


def check_contrast(page: Any) -> float:
    """Fail where text has less than `LEAST_CONTRAST` with its background; give the least."""
    found = page.evaluate(_CONTRAST)
    assert found
    low = [text for text in found if text["ratio"] < LEAST_CONTRAST]
    assert not low, low[:10]
    return float(min(text["ratio"] for text in found))


def check_structure(page: Any) -> None:
    """Fail where headings, landmarks, tables, pictures or controls are not what a screen reader needs."""
    problems = page.evaluate(_STRUCTURE)
    assert not problems, problems


def check_no_sideways_scroll(page: Any) -> None:
    """Fail where the page itself is wider than the window; a wide table may scroll in a box of its own."""
    wide, window = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= window, page.evaluate(
        "[...document.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
        ".slice(0, 10).map(e => e.outerHTML.slice(0, 160))"
    )


def tab_through(page: Any, most: int = 500) -> list[dict[str, Any]]:
    """Press Tab from the top of the page until all was reached; fail where focus is not to be seen, or sticks."""
    page.evaluate("document.activeElement && document.activeElement.blur()")
    stops: list[dict[str, Any]] = []
    for _ in range(most):
        page.keyboard.press("Tab")
        stop = page.evaluate(_FOCUSED)
        if stop is None:
            break
        assert stop["marked"], stop
        stops.append(stop)
    assert len(stops) >= page.evaluate(_FOCUSABLE), [stop["html"] for stop in stops]
    return stops
