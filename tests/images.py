"""Image files for tests, made from seeded pixels."""

from pathlib import Path

import numpy as np
import tensorflow as tf


def pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Seeded noise on a gradient, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 200, height)[:, None, None] + np.linspace(0, 40, width)[None, :, None]
    return np.clip(ramp + rng.integers(0, 50, (height, width, 3)), 0, 255).astype(np.uint8)


def write_image(path: Path, image: np.ndarray) -> Path:
    """Write pixels in the format of the path's extension: .png or .jpg."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encode = tf.io.encode_png if path.suffix == ".png" else tf.io.encode_jpeg
    path.write_bytes(encode(image).numpy())
    return path


def write_folder(
    folder: Path, count: int, *, suffix: str = ".png", classes: int = 2, size: int = 24
) -> list[Path]:
    """Write `count` images of different sizes into class folders a, b, …; return them in pool3's order."""
    paths = [
        write_image(
            folder / "abcdefgh"[i % classes] / f"{i:04}{suffix}", pixels(size + i % 5, size + i % 7, i)
        )
        for i in range(count)
    ]
    return sorted(paths)
