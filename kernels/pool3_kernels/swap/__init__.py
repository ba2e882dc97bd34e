"""An average pool and the 1×1 convolution after it, in the other order."""

from pool3_kernels.swap.fast import conv_pool

__all__ = ["conv_pool"]
