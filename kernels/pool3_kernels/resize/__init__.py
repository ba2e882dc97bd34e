"""Resizes: bilinear without a filter, as TensorFlow's graphs do it, and clean-fid's bicubic one by Pillow."""

from pool3_kernels.resize.canvas import Canvas, resize_canvas
from pool3_kernels.resize.clean import resize_clean, resize_each
from pool3_kernels.resize.fast import resize_bilinear

__all__ = ["Canvas", "resize_bilinear", "resize_canvas", "resize_clean", "resize_each"]
