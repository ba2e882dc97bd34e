"""Average pooling whose sums are taken in float32, whatever the dtype of what is pooled."""

from pool3_kernels.average_pool.fast import average_pool, sums_in_float32

__all__ = ["average_pool", "sums_in_float32"]
