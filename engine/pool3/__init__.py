"""pool3 turns large sets of images into Inception-v3 ``pool_3`` features: fast, exactly once, and provably."""

from pool3._version import __version__

__all__ = ["__version__"]
