"""Colours and shapes of classes, the same in every picture and page.

Ten colours, after that the same with other shapes: forty classes are told apart. The ten are M. A. Petroff's
(2021, "Accessible Color Sequences for Data Visualization", arXiv:2107.02270), chosen by an optimisation that holds a
least distance in simulated deuteranomaly, protanomaly and tritanomaly, and in lightness, so that they differ in grey.
"""

from __future__ import annotations

LIGHT = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
"""On white. As published."""

UNLABELLED = "#8d8d8d"
"""Of points without a class."""

SHAPES = ("circle", "square", "triangle", "diamond")
MARKERS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D"}
"""Shape → matplotlib's marker."""


def colour(number: int) -> str:
    """Of a class by its number; -1: none."""
    return UNLABELLED if number < 0 else LIGHT[number % len(LIGHT)]


def shape(number: int) -> str:
    """Of a class by its number; -1: none."""
    return SHAPES[0] if number < 0 else SHAPES[number // len(LIGHT) % len(SHAPES)]
