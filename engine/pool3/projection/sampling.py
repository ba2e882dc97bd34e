"""A part of a file's rows that has its classes in their proportions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def stratified(labels: NDArray[np.int32], limit: int, seed: int) -> NDArray[np.int64]:
    """Draw rows within each class, by the largest remainder; rows without a label are a class too.

    Each class gets one row at least, where the limit is not below the count of classes.

    Args:
        labels: (N,) of all rows.
        limit: how many to draw; 0, or N and more: all.
        seed: of the draw.

    Returns:
        Ascending rows, min(limit, N) of them.
    """
    count = len(labels)
    if not limit or limit >= count:
        return np.arange(count)
    _, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    shares = sizes * (limit / count)
    takes = np.floor(shares).astype(np.int64)
    if limit >= len(sizes):
        takes = np.maximum(takes, 1)
    # What is still to give goes by remainder; what was given too much to small classes comes from the largest.
    order = np.argsort(takes - shares, kind="stable")
    place = 0
    while takes.sum() < limit:
        number = order[place % len(order)]
        takes[number] += takes[number] < sizes[number]
        place += 1
    while takes.sum() > limit:
        takes[np.argmax(takes)] -= 1
    rng = np.random.default_rng(seed)
    drawn = [
        rng.choice(np.flatnonzero(inverse == number), take, replace=False)
        for number, take in enumerate(takes)
    ]
    return np.sort(np.concatenate(drawn))
