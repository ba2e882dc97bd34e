"""The fast form: bands of the result's rows, each from the rows that it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from pool3_kernels.bands.window import Window


def in_bands(x: Any, chain: Sequence[Window], count: int) -> Any:
    """Compute a chain as `reference.whole` does, bit for bit, in bands that TensorFlow may run side by side.

    In a chain each operation waits for the one before, so that one thread an operation leaves all other cores idle.
    Bands have no such order between them. At their edges they compute some rows twice: in two bands, the stem of
    Inception-v3 has 3 % more multiplications.

    Args:
        x: (B, H, W, in), with a static shape.
        chain: the operations.
        count: bands, at most as many as the result has rows.

    Returns:
        (B, H', W', out).
    """
    import tensorflow as tf

    rows = [x.shape[1]]
    for window in chain:
        rows.append(window.results(rows[-1]))
    cuts = [rows[-1] * band // count for band in range(count + 1)]
    return tf.concat([_band(x, chain, rows, *limits) for limits in pairwise(cuts)], axis=1)


def _band(x: Any, chain: Sequence[Window], rows: Sequence[int], start: int, stop: int) -> Any:
    """Rows [start, stop) of the result; `rows` are those before each operation, and after the last."""
    zeros = []
    for window, height in zip(reversed(chain), reversed(rows[:-1]), strict=True):
        above, size = window.margins[0], window.size[0]
        start, stop = start * window.stride - above, (stop - 1) * window.stride - above + size
        zeros.append((max(0, -start), max(0, stop - height)))
        start, stop = max(0, start), min(stop, height)
    band = x[:, start:stop]
    for window, (above, below) in zip(chain, reversed(zeros), strict=True):
        band = window.run(band, window.padded(above, below))
    return band
