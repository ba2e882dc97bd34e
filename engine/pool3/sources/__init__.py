"""Where images come from: `open_source` turns what a user names into an ordered, countable `Source`."""

from pool3.sources.archives import ArchiveSource
from pool3.sources.arrays import ArraySource
from pool3.sources.base import NO_LABEL, Content, Source, Unreadable, content_sha256
from pool3.sources.cifar import CifarSource
from pool3.sources.combine import ConcatSource, LimitSource, SelectionSource
from pool3.sources.files import FileSource
from pool3.sources.items import ItemSource, as_source
from pool3.sources.opening import open_source

__all__ = [
    "NO_LABEL",
    "ArchiveSource",
    "ArraySource",
    "CifarSource",
    "ConcatSource",
    "Content",
    "FileSource",
    "ItemSource",
    "LimitSource",
    "SelectionSource",
    "Source",
    "Unreadable",
    "as_source",
    "content_sha256",
    "open_source",
]
