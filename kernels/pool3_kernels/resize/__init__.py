"""Bilinear resize without a filter, as TensorFlow's graphs do it."""

from pool3_kernels.resize.canvas import Canvas, resize_canvas
from pool3_kernels.resize.fast import resize_bilinear

__all__ = ["Canvas", "resize_bilinear", "resize_canvas"]
