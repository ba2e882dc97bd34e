"""Text from outside, made fit to be shown."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text of a file that may be damaged or strange, on one line, and without what a terminal or a page would obey.

    Control characters, and those that reorder or hide others (U+202E and its like), become backslash escapes.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
