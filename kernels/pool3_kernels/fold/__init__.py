"""Batch norm folded into the convolution before it."""

from pool3_kernels.fold.fast import fold_batch_norm

__all__ = ["fold_batch_norm"]
