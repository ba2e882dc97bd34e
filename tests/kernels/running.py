"""The three places in which a kernel must give the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

MODES = ("eager", "function", "data")


def run(mode: str, kernel: Callable[..., Any], *arrays: np.ndarray) -> Any:
    """Call `kernel` on tensors of the arrays: eagerly, in a `tf.function`, or inside a `tf.data` pipeline."""
    tensors = tuple(tf.constant(array) for array in arrays)
    if mode == "eager":
        return kernel(*tensors)
    if mode == "function":
        return tf.function(kernel)(*tensors)
    return next(iter(tf.data.Dataset.from_tensors(tensors).map(kernel)))
