"""The digit images that scikit-learn ships: a labelled set that needs no download."""

from __future__ import annotations

import numpy as np

from pool3.sources.arrays import ArraySource

DIGITS = "sklearn:digits"


def open_digits() -> ArraySource:
    """Open the 1,797 images, 8×8, of the digits 0 … 9; grey of 0–16 becomes RGB of 0–255."""
    from sklearn.datasets import load_digits  # imported late: most runs do without

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    names = [str(digit) for digit in range(10)]
    return ArraySource(images, labels=bunch.target, label_names=names, name="digits", description=DIGITS)
