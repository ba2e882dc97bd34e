"""Bilinear resize without a filter, as TensorFlow's graphs do it."""

from pool3_kernels.resize.fast import resize_bilinear

__all__ = ["resize_bilinear"]
