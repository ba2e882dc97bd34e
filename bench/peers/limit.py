"""What the processor gives at most: the rate of TensorFlow's matrix product, at its best shape and threads.

Told in images: the rate divided by the operations that Inception-v3 needs for one. It is no bound in the strict
sense, since convolutions are other products than these; it says what a network of plain products would reach.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.peers.contender import Contender, Measure, Setup, UnavailableError, quickest
from bench.threads import cores
from pool3.devices import choose_devices, choose_precision
from pool3.runtime import start_tensorflow

OPERATIONS = 11.44e9
"""Of one image of 299² through Inception-v3: a multiplication and an addition are two."""

SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096), (4096, 1024, 256), (9248, 1152, 192))
"""(m, k, n): cubes, and products such as convolutions of the network come to."""

_SAMPLE = 3e11  # operations a sample: one to three seconds of two cores
_TRIAL = 5e10


def contender(setup: Setup, precision: str) -> Contender:
    """Try every number of threads in a process of its own, since TensorFlow takes it once, then keep the best."""
    able, reason = choose_precision(choose_devices("cpu"))
    if precision not in ("float32", able):
        raise UnavailableError(f"no {precision} here: {reason}")
    tried = {}
    # All threads on one product, or a thread on each of as many products.
    for threads, callers in {(cores(), 1), (1, cores())}:
        command = [
            sys.executable,
            "-m",
            "bench.peers.limit",
            precision,
            str(threads),
            str(callers),
            str(setup.trials),
        ]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
        shape, medians = json.loads(done.stdout)
        tried[medians[shape], threads, callers, shape] = medians
    _, threads, callers, shape = max(tried)
    measure = _products(precision, threads, callers, _SAMPLE)[shape]
    facts: dict[str, Any] = {"threads": threads, "callers": callers, "shape": shape}
    facts["settings"] = {f"{t} threads × {c}": medians for (_, t, c, _), medians in tried.items()}
    return Contender({f"limit/{precision}": measure}, None, facts)


def _products(precision: str, threads: int, callers: int, operations: float) -> dict[str, Measure]:
    """A measure for each shape; `threads` for each product, `callers` products at a time."""
    start_tensorflow(threads)
    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(max(2, callers))
    return products(precision, callers, operations)


def products(precision: str, callers: int, operations: float) -> dict[str, Measure]:
    """A measure for each shape; `callers` products at a time, each with the threads that TensorFlow has."""
    import tensorflow as tf

    pool = ThreadPoolExecutor(callers)

    def measure(m: int, k: int, n: int) -> Measure:
        with tf.device("/CPU:0"):
            pairs = [
                tuple(
                    tf.cast(tf.random.stateless_normal(s, (caller, 0)), precision) for s in ((m, k), (k, n))
                )
                for caller in range(callers)
            ]
        repeats = max(1, round(operations / (2 * m * k * n * callers)))

        def multiply(pair: tuple[Any, Any]) -> None:
            with tf.device("/CPU:0"):
                for _ in range(repeats):
                    tf.linalg.matmul(*pair)

        def call() -> None:
            list(pool.map(multiply, pairs))

        return Measure(2 * m * k * n * callers * repeats / OPERATIONS, call)

    return {"×".join(map(str, shape)): measure(*shape) for shape in SHAPES}


def best_product(precision: str, images: int) -> Callable[[], float]:
    """Try every shape in this process, with its threads, and return a call that gives the seconds of so many images."""
    tried = {
        f"{shape}, {callers}": measure
        for callers in sorted({1, 2, cores()})
        for shape, measure in products(precision, callers, _TRIAL).items()
    }
    best, _ = quickest(tried, 2)
    return lambda: images / tried[best].sample()


def _try(precision: str, threads: str, callers: str, trials: str) -> None:
    """Print the best shape and all medians as JSON."""
    measures = _products(precision, int(threads), int(callers), _TRIAL)
    print(json.dumps(quickest(measures, int(trials))))


if __name__ == "__main__":
    _try(*sys.argv[1:])
