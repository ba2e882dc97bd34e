"""Self-contained HTML pages: templates that forbid every request, pictures of rows, and a map of points."""

from pool3.pages.images import Images, find_images
from pool3.pages.rendering import render, write_page
from pool3.pages.scatter import Scatter
from pool3.pages.sprites import Sprites, make_sprites, side_for
from pool3.pages.thumbnails import Picture

__all__ = [
    "Images",
    "Picture",
    "Scatter",
    "Sprites",
    "find_images",
    "make_sprites",
    "render",
    "side_for",
    "write_page",
]
