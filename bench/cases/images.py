"""Images that cases work on, seeded."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

_made: set[tuple[Path, int, int, int, str]] = set()


def folder_of_images(folder: Path, count: int, height: int, width: int, suffix: str = ".jpg") -> Path:
    """A folder of JPEG or PNG files with the smooth content of photographs, so that they compress like them.

    One that this process has made before is taken as it is: several cases read the same files.
    """
    if (made := (folder, count, height, width, suffix)) in _made:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        coarse = tf.random.stateless_uniform((1, height // 8 + 2, width // 8 + 2, 3), (number, 0), 0, 255)
        image = tf.cast(tf.image.resize(coarse, (height, width), method="bicubic"), tf.float32)
        noise = tf.random.stateless_normal((1, height, width, 3), (number, 1), 0, 6)
        pixels = tf.saturate_cast(image + noise, tf.uint8)[0]
        encoded = tf.io.encode_png(pixels) if suffix == ".png" else tf.io.encode_jpeg(pixels, quality=90)
        (folder / f"{number:05}{suffix}").write_bytes(encoded.numpy())
    _made.add(made)
    return folder


def folder_of_jpegs(folder: Path, count: int, height: int, width: int) -> Path:
    """The same, of JPEG files."""
    return folder_of_images(folder, count, height, width)
