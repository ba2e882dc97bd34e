"""A chain of convolutions and pools, computed in bands of rows that do not wait for each other."""

from pool3_kernels.bands.fast import in_bands
from pool3_kernels.bands.window import Padding, Window, Zeros

__all__ = ["Padding", "Window", "Zeros", "in_bands"]
