"""Draws ``docs/digits.png``: every digit of the demonstration at its place in a t-SNE of its features.

Run ``make run`` first, then ``python docs/draw_digits.py out/digits.h5 docs/digits.png``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

import pool3
from pool3.sources import open_source

WIDTH, HEIGHT, THUMBNAIL = 1400, 900, 12

# Ten colours that stay apart for most eyes (Paul Tol's "muted" scheme, and black).
COLOURS = np.array(
    [(51, 34, 136), (136, 204, 238), (68, 170, 153), (17, 119, 51), (153, 153, 51),
     (221, 204, 119), (204, 102, 119), (136, 34, 85), (170, 68, 153), (0, 0, 0)]
)  # fmt: skip


def draw(
    features: NDArray[np.float32], images: NDArray[np.uint8], labels: NDArray[np.int32]
) -> NDArray[np.uint8]:
    """Place each image, inked in its class's colour, on white; where two meet, the darker ink shows.

    Args:
        features: (N, D).
        images: (N, 12, 12, 3), dark on light.
        labels: (N,).

    Returns:
        (HEIGHT, WIDTH, 3) uint8.
    """
    reduced = PCA(50, random_state=0).fit_transform(features)
    places = TSNE(perplexity=30, init="pca", random_state=0).fit_transform(reduced)
    low, high = places.min(axis=0), places.max(axis=0)
    room = np.array([WIDTH, HEIGHT]) - THUMBNAIL
    corners = np.rint((places - low) / (high - low) * room).astype(int)
    canvas = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for (x, y), image, label in zip(corners, images, labels, strict=True):
        ink = 1 - image.astype(np.float64) / 255
        coloured = np.rint(255 - ink * (255 - COLOURS[label])).astype(np.uint8)
        spot = canvas[y : y + THUMBNAIL, x : x + THUMBNAIL]
        np.minimum(spot, coloured, out=spot)
    return canvas


def main() -> None:
    """Read the feature file named first, write the PNG named second."""
    import tensorflow as tf

    source = open_source("sklearn:digits")
    images = np.stack([np.asarray(image) for image in source.read(0, len(source))])
    with pool3.open_features(sys.argv[1]) as file:
        canvas = draw(file.features[:], images[file.source_index], file.labels)
    Path(sys.argv[2]).write_bytes(tf.io.encode_png(canvas).numpy())


if __name__ == "__main__":
    main()
