"""What a user waits for and pays: start-up, end to end, a classifier, and memory; each as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pool3
from bench.cases.images import folder_of_jpegs
from bench.measure import Work
from pool3.extractor import Extractor
from pool3.spec import ExtractSpec


def end_to_end(folder: Path, count: int) -> Work:
    """A folder of JPEG files to a sealed feature file; start-up and compilation left out."""
    images = folder_of_jpegs(folder / "images", count, 32, 32)
    output = folder / "out.h5"
    extractor = Extractor(ExtractSpec(backbone="inception_v3", weights="random:0"))

    def call() -> float:
        result = extractor.extract(images, output, overwrite=True)
        if result.rows != count:
            raise AssertionError(f"{result.rows} rows from {count} images")
        # Commits pass beside the network; the last one and the seal do not.
        return result.seconds - result.stages["compile"]

    def features() -> NDArray[np.float32]:
        with pool3.open_features(output) as file:
            return np.asarray(file.features[:8])

    return Work(call, features)


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh process with the engine that this one has."""
    paths = {str(Path(str(module.__file__)).parents[1]) for module in (pool3, sys.modules["pool3_kernels"])}
    path = os.pathsep.join([*sorted(paths), str(Path(__file__).parents[2])])
    return subprocess.run(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": path},
    )


def command_help() -> Work:
    """``pool3 --help`` in a fresh process."""

    def call() -> None:
        _python("-m", "pool3.cli", "--help")

    return Work(call)


def first_features(folder: Path) -> Work:
    """From the start of a process to the first batch of features: TensorFlow, weights, compilation, one step."""
    images = folder_of_jpegs(folder / "few", 8, 32, 32)
    program = (
        "import sys, time; from pool3.runtime import start_tensorflow; start_tensorflow(); "
        "from pool3 import Extractor, ExtractSpec; "
        "Extractor(ExtractSpec(weights='random:0', batch_size=8)).embed(sys.argv[1]); print(time.monotonic())"
    )

    def call() -> float:
        # One clock for all processes. The end of this one, when TensorFlow gives its memory back, is left out.
        start = time.monotonic()
        return float(_python("-c", program, str(images)).stdout) - start

    return Work(call)


def memory(count: int) -> Work:
    """Peak bytes of a process that puts `count` images through the pipeline and the store, without a network."""

    def call() -> float:
        with tempfile.TemporaryDirectory(prefix="pool3-bench-") as scratch:
            done = _python("-m", "bench.cases.memory", str(count), str(Path(scratch) / "out.h5"))
        return float(done.stdout)

    return Work(call)


def classifier(rows: int, width: int, *, what: str, backend: str = "auto") -> Work:
    """The blog's SVM on features of ten classes that overlap: ``fit``, ``predict`` as many rows, or ``both``.

    The backend ``plain`` is what scikit-learn's user would write, without anything of pool3.
    """
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, rows)
    centres = rng.standard_normal((10, width)) * 0.12
    features = (centres[labels] + rng.standard_normal((rows, width))).astype(np.float32)
    model = _svm(backend)
    if what == "predict":
        model.fit(features, labels)

    def call() -> None:
        if what != "predict":
            model.fit(features, labels)
        if what != "fit":
            model.predict(features)

    return Work(call, lambda: np.asarray(model.predict(features), np.float32))


def _svm(backend: str) -> Any:
    if backend == "plain":
        from sklearn.svm import SVC

        return SVC(kernel="linear", C=0.1)
    from pool3.classify import make_model, settings
    from pool3.classify.backends import choose

    return make_model(settings("svc"), choose(backend, "svc"))
