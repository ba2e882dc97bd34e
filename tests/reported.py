"""Feature files of small images with hostile names, for reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pool3.sources import open_source
from tests.sourced import write_features

CLASSES = (
    "<script>window.pwned=1<∕script>",
    "\"onmouseover='window.pwned=1'",
    "evil\u202egpj.exe",
    "tab\tand\x07bell",
)
"""Folders' names. A slash would end one, so U+2215 stands in it; the ids have real ones."""

IMAGES = (
    "<img src=x onerror=window.pwned=1>.png",
    "{{ 7 * 191 }}.png",
    "'\"><b>bold.png",
    "]]>--><!--.png",
)
EACH = 12
COLOURS = ((200, 40, 40), (40, 160, 60), (50, 80, 200), (190, 170, 40))


def write_images(folder: Path, *, classes: int = len(CLASSES), each: int = EACH) -> Path:
    """A folder a class, of one colour each; the first images have hostile names, the others numbers."""
    for number in range(classes):
        name = CLASSES[number] if number < len(CLASSES) else f"class {number:03}"
        place = folder / name
        place.mkdir(parents=True)
        for i in range(each):
            colour = np.array(COLOURS[number % len(COLOURS)], np.uint8)
            Image.fromarray(np.full((20, 28, 3), colour) + np.uint8(i)).save(
                place / (IMAGES[i] if i < len(IMAGES) and number < 2 else f"{i:03}.png")
            )
    # The path of this one reads </script><script>window.pwned=1.png
    place = folder / CLASSES[0] / "<" / "script><script>window.pwned=1"
    place.mkdir(parents=True)
    Image.fromarray(np.full((20, 28, 3), 90, np.uint8)).save(place / "x.png")
    return folder


def write_file(
    path: Path, folder: Path, *, seed: int = 0, spread: float = 1.0, failed: int = 0, **changes: object
) -> Path:
    """A feature file of a folder of images; `failed` more images are listed there and gone when they are read."""
    lost = [folder / CLASSES[1] / f"gone <i>{i}</i>\u202e.png" for i in range(failed)]
    for gone in lost:
        gone.parent.mkdir(exist_ok=True)
        gone.write_bytes(b"soon gone")
    source = open_source(str(folder))
    for gone in lost:
        gone.unlink()
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(len(source.label_names) + 1, 8)) * 2
    features = centres[source.labels] + rng.normal(size=(len(source), 8)) * spread
    return write_features(path, source, features, **changes)
