"""The blog's own way: the graph of 2015 in a session, one image at a time at ``DecodeJpeg:0``.

Run as ``python -m bench.blog`` it serves samples, see `bench.protocol`: a process of its own, since a process has one
setting of TensorFlow's threads, and the blog's reader would have left it as it is.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.graph2015 import graph_2015, session_2015
from bench.protocol import Worker
from pool3.backbones import INCEPTION_V3, Tensors
from pool3.runtime import start_tensorflow
from pool3.weights import random_tensors

Pixels = NDArray[np.uint8]
Features = NDArray[np.float32]


def images(count: int) -> Pixels:
    """Seeded images of 32×32, (count, 32, 32, 3)."""
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def loop(tensors: Tensors) -> Callable[[Pixels], Features]:
    """The session, as a function: (N, H, W, 3) → (N, 2048). TensorFlow must not run yet."""
    start_tensorflow(threads=0)
    stack = ExitStack()
    session = stack.enter_context(session_2015(graph_2015(tensors)))
    fetch = session.graph.get_tensor_by_name("pool_3:0")

    def embed(pixels: Pixels) -> Features:
        found = [session.run(fetch, {"DecodeJpeg:0": image}) for image in pixels]
        return np.concatenate(found).reshape(len(pixels), -1)

    # The session lives as long as the function that uses it.
    embed.stack = stack  # type: ignore[attr-defined]
    return embed


class BlogLoop:
    """The loop in a process of its own, until this is garbage.

    Args:
        count: images a sample.
    """

    def __init__(self, count: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pool3-blog-")
        folder = Path(self._folder.name)
        self._features = folder / "features.npy"
        command = [sys.executable, "-m", "bench.blog", str(count), str(self._features)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._worker = Worker("blog_loop", command, log=folder / "log", env=env)
        self._worker.answer()

    def seconds(self) -> float:
        """Embed all images; seconds."""
        return float(self._worker.ask({})["seconds"])

    def features(self) -> Features:
        """Those of the first image, (1, 2048)."""
        found: Features = np.load(self._features)
        return found

    def __del__(self) -> None:
        if hasattr(self, "_worker"):
            self._worker.close()


def main(arguments: list[str]) -> int:
    """Serve until stdin ends: for each line, the seconds of embedding all images."""
    count, path = arguments
    pixels = images(int(count))
    # Libraries print what they like to stdout, from C++ too: it goes to stderr, and the answers to a copy of stdout.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    embed = loop(random_tensors(INCEPTION_V3, 0))
    np.save(path, embed(pixels[:1]))
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        embed(pixels)
        print(json.dumps({"seconds": time.perf_counter() - start}), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
