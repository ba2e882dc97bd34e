"""Puts a network on its devices: one replica each, compiled for one static shape."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.allocation import memory_kept
from pool3.backbones import CLEAN, Backbone, Preprocessing, Tensors
from pool3.devices import Placement, cores, step_threads
from pool3.errors import DeviceMemoryError, ExtractionError

STEP_THREADS = 1
"""Threads that share one operation on the CPU, in a process of pool3's own. Cores are kept busy by steps that run at a
time, one a core: within a step, threads would wait for each other at the end of every operation."""

_QUIETED = "POOL3_SET_TF_LOG_LEVEL"


@contextmanager
def quiet_start() -> Iterator[None]:
    """Hold back what TensorFlow's C++ code prints to stderr while it loads; print it after all on an exception.

    Those lines come before any log level takes effect. ``TF_CPP_MIN_LOG_LEVEL`` set by the user leaves them alone.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ and _QUIETED not in os.environ:
        yield
        return
    # Programs that this process starts inherit the level: that it is none of the user's is said beside it.
    os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ[_QUIETED] = "2", "1"
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)


def start_tensorflow(threads: int = STEP_THREADS) -> None:
    """Import TensorFlow and let it look for devices, quietly: what the command line does before the rest.

    Args:
        threads: that share one operation on the CPU, 0: TensorFlow's choice, which is all cores. What the user set by
            ``TF_NUM_INTRAOP_THREADS`` stays, and so do the threads of a TensorFlow that runs already.
    """
    with quiet_start(), _without_keras():
        import tensorflow as tf

        if "TF_NUM_INTRAOP_THREADS" not in os.environ:
            with suppress(RuntimeError):
                tf.config.threading.set_intra_op_parallelism_threads(threads)
        # The first look for devices is what makes its C++ code talk.
        tf.config.list_physical_devices()
        # Several networks in one process are several traces on purpose; TensorFlow would warn of each.
        tf.get_logger().setLevel("ERROR")


@contextmanager
def _without_keras() -> Iterator[None]:
    """Let TensorFlow's import pass over Keras, which it takes in for saved models alone, and which is half of its time.

    A name that stands for nothing makes the import of what registers there fail, as it does where Keras is not
    installed. ``tf.keras`` stays what it is, and imports Keras when it is asked for.
    """
    registering = "keras.src.optimizers"
    if registering in sys.modules:
        yield
        return
    sys.modules[registering] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[registering]


class Runner:
    """A network on its devices, compiled for one static shape; several threads may call it at once.

    With several devices, `tf.distribute.MirroredStrategy` holds a replica on each, and one step takes a batch for each.
    Inference needs no exchange between replicas, and each batch has the static shape, so a row's bits do not depend
    on how many devices there are.

    Attributes:
        input_spec: shape and dtype of a batch. Where that is float32, a `pool3_kernels.resize.Canvas` is taken as well,
            and resized on the device first.
        precision: dtype of the convolutions.
        replicas: batches a step.

    Args:
        backbone: the network's declaration.
        tensors: its weights.
        feature: the feature to compute.
        placement: the devices.
        batch_size: images a batch.
        image_shape: (H, W) of all images, or None where they come resized.
        precision: dtype of the convolutions.
        xla: compile the network by XLA, which fuses what runs between convolutions; else TensorFlow's own graph
            optimizer, which on a CPU has oneDNN's fused convolutions.
        preprocessing: how images are resized on the device; None: as the backbone says.
    """

    def __init__(
        self,
        backbone: Backbone,
        tensors: Tensors,
        feature: str,
        placement: Placement,
        *,
        batch_size: int,
        image_shape: tuple[int, int] | None,
        precision: str = "float32",
        xla: bool = False,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        import tensorflow as tf

        from pool3_kernels.resize import resize_bilinear, resize_canvas

        self.precision = precision
        self.replicas = len(placement.devices)
        self._placement = placement
        self._batch_size = batch_size
        self._compiled = False
        self._strategy: Any = None
        if self.replicas > 1:
            self._strategy = tf.distribute.MirroredStrategy(list(placement.devices))
        width = int(np.prod(backbone.features[feature]))
        p = preprocessing or backbone.preprocessing
        if image_shape is not None and p.resize == CLEAN:
            raise ValueError("Pillow resizes on the host: give it no image_shape")
        half_pixel = p.resize == "bilinear"
        with self._scope():
            # XLA takes weights as arguments: as constants it would fold them for minutes.
            network = backbone.build(
                tensors, (feature,), precision, variables=xla, lanes=_lanes(placement, batch_size, xla=xla)
            )
        if image_shape is None:
            self.input_spec = tf.TensorSpec((batch_size, p.size, p.size, 3), tf.float32)
        else:
            self.input_spec = tf.TensorSpec((batch_size, *image_shape, 3), tf.uint8)

        def features(pixels: Any) -> Any:
            return tf.reshape(network(pixels)[feature], (batch_size, width))

        if xla:
            features = tf.function(features, jit_compile=True, autograph=False)

        def forward(batch: Any) -> Any:
            if image_shape is not None:
                batch = resize_bilinear(batch, p.size, half_pixel=half_pixel, cpu=not placement.on_gpu)
            return features(batch)

        def step(batch: Any) -> Any:
            return forward(batch) if self._strategy is None else self._strategy.run(forward, (batch,))

        self._step: Any = tf.function(step, autograph=False)
        # By itself, so that the network is compiled once and this once for each size of canvas.
        self._resize: Any = tf.function(
            partial(resize_canvas, size=p.size, half_pixel=half_pixel), autograph=False
        )

    @contextmanager
    def _scope(self) -> Iterator[None]:
        """Where this network's variables and operations go."""
        import tensorflow as tf

        where = tf.device(self._placement.devices[0]) if self._strategy is None else self._strategy.scope()
        with where:
            yield

    def compile(self) -> None:
        """Trace and run once on zeros, so that the first real batch is as quick as the next; once only.

        Raises:
            DeviceMemoryError: a batch does not fit into a device's memory.
            ExtractionError: the network cannot be compiled or run.
        """
        if not self._compiled:
            with memory_kept():
                self.run([])
            self._compiled = True

    def convolutions(self) -> Counter[str]:
        """Dtype → count of the convolutions in the graph of one step, over all replicas."""
        import tensorflow as tf

        graph = self._step.get_concrete_function(self._spread([])).graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        kinds = ("Conv2D", "DepthwiseConv2dNative")
        return Counter(tf.dtypes.as_dtype(node.attr["T"].type).name for node in nodes if node.op in kinds)

    def __call__(self, batch: Any) -> NDArray[np.float32]:
        """Run one batch; see `run`."""
        return self.run([batch])[0]

    def run(self, batches: Sequence[Any]) -> list[NDArray[np.float32]]:
        """Run a step: up to `replicas` batches of the shape and dtype of `input_spec`; replicas without one get zeros.

        Returns:
            For each batch (batch_size, D) float32 on the host, one flattened feature a row.

        Raises:
            DeviceMemoryError: a batch does not fit into a device's memory.
            ExtractionError: the network cannot be compiled or run; a device that is lost is one such reason.
        """
        import tensorflow as tf

        try:
            with self._scope():
                found = self._step(self._spread(batches))
            local = [found] if self._strategy is None else self._strategy.experimental_local_results(found)
            return [features.numpy() for features in local[: len(batches)]]
        except tf.errors.ResourceExhaustedError as error:
            raise DeviceMemoryError(
                f"a batch of {self._batch_size} does not fit into the memory of {self._placement.description}; "
                "what was committed is kept: free memory and run again, or start again with a smaller --batch-size "
                "and --overwrite"
            ) from error
        except tf.errors.OpError as error:
            reason = error.message.strip().splitlines()[0] if error.message.strip() else type(error).__name__
            raise ExtractionError(
                f"{self._placement.description} failed to run the network: {reason}; what was committed is kept: "
                "run again, and see `pool3 doctor` where it fails again"
            ) from error

    def _spread(self, batches: Sequence[Any]) -> Any:
        """A batch for each replica."""
        import tensorflow as tf

        missing = self.replicas - len(batches)
        every = [*batches, *(tf.zeros(self.input_spec.shape, self.input_spec.dtype) for _ in range(missing))]
        tensors = [self._entry(*given) for given in zip(every, self._placement.devices, strict=True)]
        for tensor in tensors:
            tensor.shape.assert_is_compatible_with(self.input_spec.shape)
        if self._strategy is None:
            return tensors[0]
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: tensors[context.replica_id_in_sync_group]
        )

    def _entry(self, batch: Any, device: str) -> Any:
        """A batch as the network takes it: a canvas is resized on the device; all else is on the host, to be copied."""
        import tensorflow as tf

        from pool3_kernels.resize import Canvas

        if isinstance(batch, Canvas):
            with tf.device(device):
                return self._resize(batch)
        with tf.device("/CPU:0"):
            return tf.convert_to_tensor(batch, self.input_spec.dtype)


def _lanes(placement: Placement, batch_size: int, *, xla: bool) -> int:
    """Threads that a step has to itself; see `pool3.backbones.Backbone.build`.

    One image at a time, an operation a thread, is a matter of latency. Batches run side by side, one a core, and what
    serves latency costs them 2 %; where threads share an operation, no core is idle that lanes could use.
    """
    alone = batch_size == 1 and len(placement.devices) == 1
    return cores() if alone and step_threads() == 1 and not (xla or placement.on_gpu) else 1
