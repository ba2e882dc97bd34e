"""Threads of a benchmark's process: fixed, so that they can be recorded."""

from __future__ import annotations

import os


def cores() -> int:
    """Processors that this process may use. Not `pool3.devices.cores`: the gate runs this with older trees."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_with_fixed_threads() -> None:
    """Start TensorFlow as pool3 does, with a thread a core where it leaves the choice open; BLAS and OpenMP likewise.

    Those two read the environment as they are loaded: call this before NumPy is imported. Programs that cases start
    inherit it.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(cores())
    from pool3.runtime import start_tensorflow

    start_tensorflow()
    import tensorflow as tf

    threading = tf.config.threading
    if not (threading.get_intra_op_parallelism_threads() or "TF_NUM_INTRAOP_THREADS" in os.environ):
        threading.set_intra_op_parallelism_threads(cores())
    if not (threading.get_inter_op_parallelism_threads() or "TF_NUM_INTEROP_THREADS" in os.environ):
        threading.set_inter_op_parallelism_threads(cores())
