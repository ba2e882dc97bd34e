"""A row of Inception-v3: the same bits whatever it is computed with, and other batch sizes within 1e-6.

For EfficientNet-Lite0, test_extractor.py has the same; here each network takes seconds to compile, so few are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pool3 import Extractor, ExtractSpec
from tests.images import pixels, write_image

pytestmark = pytest.mark.slow

BATCH, COUNT = 7, 9
"""A full batch, and one that is padded."""


def extractor(batch_size: int, resize_on: str) -> Extractor:
    spec = ExtractSpec(
        backbone="inception_v3",
        weights="random:0",
        devices="cpu",
        batch_size=batch_size,
        resize_on=resize_on,
    )
    return Extractor(spec)


class Case:
    """Images that take one of the routes, and their features in batches of `BATCH`.

    Attributes:
        other: another batch size to compare with.
        resize_on: as the route needs it.
    """

    def __init__(self, images: Sequence, other: int, resize_on: str) -> None:
        self.images, self.other, self.resize_on = images, other, resize_on
        self._extractor = extractor(BATCH, resize_on)
        self.together = self.embed(range(COUNT))

    def embed(self, indices: Sequence[int]) -> np.ndarray:
        return self._extractor.embed(self.chosen(indices))

    def chosen(self, indices: Sequence[int]) -> Sequence:
        chosen = [self.images[i] for i in indices]
        return np.stack(chosen) if isinstance(self.images, np.ndarray) else chosen


@pytest.fixture(scope="module", params=["device", "host", "canvas"])
def case(request, tmp_path_factory) -> Case:
    if request.param == "device":
        return Case(np.stack([pixels(40, 50, seed) for seed in range(COUNT)]), 1, "device")
    folder = tmp_path_factory.mktemp("files")
    files = [write_image(folder / f"{i}.png", pixels(30 + 9 * i, 90 - 7 * i, i)) for i in range(COUNT)]
    other, resize_on = (64, "host") if request.param == "host" else (3, "device")
    return Case([str(path) for path in files], other, resize_on)


def test_the_same_bits_beside_any_neighbours(case) -> None:
    assert case.together.shape == (COUNT, 2048)
    assert len(np.unique(case.together, axis=0)) == COUNT
    for index in (3, 8):  # alone; one was in a full batch, and one in the padded tail
        np.testing.assert_array_equal(case.embed([index])[0], case.together[index])
    np.testing.assert_array_equal(case.embed(range(COUNT)[::-1])[::-1], case.together)


def test_another_batch_size_agrees(case) -> None:
    actual = extractor(case.other, case.resize_on).embed(case.chosen(range(COUNT)))
    difference = np.abs(actual - case.together).max(axis=1) / np.abs(case.together).max(axis=1)
    assert difference.max() < 1e-6
