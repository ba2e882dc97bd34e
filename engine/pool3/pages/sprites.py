"""Many small pictures as a few large ones, so that a page with 10,000 of them stays small and quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.pages.images import Images
from pool3.pages.thumbnails import SMALL, data_uri
from pool3.watching import Watch

COLUMNS = 16
"""Of a sheet of COLUMNS² pictures: one is decoded at a time, in a few milliseconds, when the first of them is shown."""

_BLOCK = 8
"""Side of JPEG's blocks. Tiles are whole blocks and colours are not subsampled, so that no tile shows its neighbour."""


@dataclass(slots=True)
class Sprites:
    """Pictures of n points, on sheets.

    Attributes:
        place: (n,) int64, each point's place among all pictures, sheet by sheet; -1: it has none.
        sheets: ``data:`` URIs of JPEG images.
        tiles: of each sheet, the side of its tiles in pixels.
        sizes: of each picture, (width, height) within its tile, in the order of `place`.
    """

    place: NDArray[np.int64]
    sheets: list[str] = field(default_factory=list)
    tiles: list[int] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Of all sheets as text in a page."""
        return sum(map(len, self.sheets))

    def data(self) -> dict[str, Any]:
        """For the script; JSON-able. One size stands for all where they are the same."""
        same = len(set(self.sizes)) == 1
        return {
            "place": self.place.tolist(),
            "sheets": self.sheets,
            "tiles": self.tiles,
            "columns": COLUMNS,
            "sizes": [n for size in (self.sizes[:1] if same else self.sizes) for n in size],
            "small": SMALL,
        }


def side_for(count: int) -> int:
    """Pixels of a tile's side that keep `count` pictures to some 15 MB of a page.

    10,000 of CIFAR-10, of 32 pixels, take 5.2 MB; larger tiles are reckoned by their area.
    """
    for most, side in ((1_000, 96), (4_000, 64), (12_000, 48)):
        if count <= most:
            return side
    return 32


def make_sprites(
    images: Images, rows: NDArray[np.int64], *, side: int | None = None, watch: Watch | None = None
) -> Sprites:
    """Make the pictures of some rows.

    Args:
        images: where they come from.
        rows: (n,) of the feature file, each once.
        side: most pixels of a picture's side; None: `side_for`.
        watch: told of how far it has come.
    """
    side = side_for(len(rows)) if side is None else side
    sprites = Sprites(np.full(len(rows), -1, np.int64))
    point = {row: i for i, row in enumerate(rows.tolist())}
    sheet: list[NDArray[np.uint8]] = []
    for row, pixels in images.thumbnails(rows, side, watch):
        sprites.place[point[row]] = len(sprites.sizes)
        sprites.sizes.append((pixels.shape[1], pixels.shape[0]))
        sheet.append(pixels)
        if len(sheet) == COLUMNS * COLUMNS:
            _flush(sprites, sheet)
    if sheet:
        _flush(sprites, sheet)
    return sprites


def _flush(sprites: Sprites, sheet: list[NDArray[np.uint8]]) -> None:
    largest = max(max(pixels.shape[:2]) for pixels in sheet)
    tile = -(-largest // _BLOCK) * _BLOCK
    lines = -(-len(sheet) // COLUMNS)
    whole = np.zeros((lines * tile, COLUMNS * tile, 3), np.uint8)
    for i, pixels in enumerate(sheet):
        top, left = i // COLUMNS * tile, i % COLUMNS * tile
        height, width = pixels.shape[:2]
        # What is beside a picture in its blocks repeats its edge: a hard one would ring into it.
        padded = np.pad(pixels, ((0, tile - height), (0, tile - width), (0, 0)), mode="edge")
        whole[top : top + tile, left : left + tile] = padded
    sprites.sheets.append(data_uri(whole, "jpeg"))
    sprites.tiles.append(tile)
    sheet.clear()
