"""The count of workers changes how long a run takes, and not one bit of what it stores."""

from pathlib import Path

import numpy as np
import pytest

from pool3 import Extractor, ExtractSpec
from tests.images import pixels, write_image
from tests.stored import stored


def mixed_files(folder: Path) -> Path:
    """Files of many sizes, some of them broken; batches that take long to decode stand before such that do not."""
    for i in range(44):
        suffix = ".png" if i % 3 else ".jpg"
        size = 2000 if i in (0, 9, 18, 33) else 10 + i
        write_image(folder / "ab"[i % 2] / f"{i:02}{suffix}", pixels(size, size + i, i))
    for name, content in (("a/04x.png", b"broken"), ("a/20x.jpg", b""), ("b/33x.png", b"\x89PNG\r\n\x1a\n")):
        (folder / name).write_bytes(content)
    return folder


def arrays(_: Path) -> np.ndarray:
    return np.stack([pixels(12, 9, seed) for seed in range(44)])


@pytest.mark.parametrize("source", [mixed_files, arrays])
def test_the_count_of_workers_changes_nothing(tmp_path, monkeypatch, source) -> None:
    """In several ranges, whose last batches are padded."""
    monkeypatch.setattr("pool3.extractor.SHARD_ROWS", 15)
    images = source(tmp_path / "images")
    found = []
    for workers in (1, 4):
        spec = ExtractSpec(backbone="efficientnet_lite0", devices="cpu", batch_size=5, workers=workers)
        result = Extractor(spec).extract(images, tmp_path / f"{workers}.h5")
        assert (result.rows, result.failures) == (44, 3 if source is mixed_files else 0)
        found.append(stored(result.output))
    assert found[0] == found[1]
