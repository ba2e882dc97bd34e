"""A program that runs pool3's command line in forked children, each of which can send itself a signal.

It imports TensorFlow once and uses nothing of it, so that a run costs its children no start. Jobs come as lines of JSON
on stdin; for each, one line with the child's exit status goes to stdout. A job has ``arguments`` of the command line,
``output`` (where its stdout and stderr go), and what happens to it:

- ``signals``: of each, ``function`` (as ``module:qualified.name``), the number of its ``call`` at whose beginning the
  signal ``number`` is sent, ``delay`` seconds later; the call waits for ``pause`` seconds after it.
- ``rows``: images in a range.
- ``file_size``: the largest file that the child may write.
- ``free``: bytes that the disk says are free.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import threading
import time
import traceback
from collections import namedtuple
from typing import Any

PATIENCE = 120
"""Seconds after which a child that hangs is ended."""


def send(function: str, call: int, number: int, delay: float = 0.0, pause: float = 0.0) -> None:
    """Patch a function so that it sends this process a signal when it is called for the n-th time."""
    module, _, qualified = function.partition(":")
    owner: Any = importlib.import_module(module)
    *path, name = qualified.split(".")
    for part in path:
        owner = getattr(owner, part)
    real = getattr(owner, name)
    calls = 0

    @functools.wraps(real)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            if delay:
                threading.Timer(delay, os.kill, (os.getpid(), number)).start()
            else:
                os.kill(os.getpid(), number)
            time.sleep(pause)
        return real(*arguments, **named)

    setattr(owner, name, wrapped)


def run(job: dict[str, Any]) -> int:
    from pool3 import cli, extractor

    signal.alarm(PATIENCE)
    with open(job["output"], "wb", buffering=0) as output:  # noqa: PTH123
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    for one in job.get("signals", ()):
        send(**one)
    if rows := job.get("rows"):
        extractor.SHARD_ROWS = rows
    if limit := job.get("file_size"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if free := job.get("free"):
        shutil.disk_usage = lambda _: namedtuple("Usage", "total used free")(1 << 50, 0, free)
    sys.argv = ["pool3", *job["arguments"]]
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        return 99
    return 0


def main() -> None:
    from pool3.runtime import quiet_start

    with quiet_start():
        import tensorflow  # noqa: F401
    import pool3.extractor  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = run(json.loads(line))
            sys.stdout.flush()
            sys.stderr.flush()
            # TensorFlow's threads of this child are none that Python could end in good order after a fork.
            os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
