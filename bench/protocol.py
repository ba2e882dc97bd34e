"""How the coordinator speaks with a worker process: JSON, a line each way, over its stdin and stdout.

The worker says ``{"ready": …}`` or ``{"unavailable": REASON}`` once, then answers each request with one object.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PATIENCE = 1800.0
"""Seconds until a worker that does not answer is ended: a sample takes minutes at most."""

_LAST_LINES = 3


class WorkerError(Exception):
    """A worker died, fell silent, or said what is no answer; the message names it."""


class Worker:
    """A worker process; leaving the ``with`` block ends it.

    Args:
        name: for messages.
        command: what to run.
        log: file for what it prints to stderr.
        env: its environment; the coordinator's where None.
        cwd: its folder.
        patience: seconds to wait for an answer.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.name = name
        self._patience = patience
        self._log = log
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=env, cwd=cwd
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            WorkerError: there was none; the worker is ended.
        """
        self.tell(request)
        return self.answer()

    def tell(self, request: Mapping[str, Any]) -> None:
        """Send a request, whose `answer` is fetched later.

        Raises:
            WorkerError: the worker has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._dead("before it was asked for more") from None

    def answer(self) -> dict[str, Any]:
        """Wait for a line.

        Raises:
            WorkerError: none came; the worker is ended.
        """
        assert self._process.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(self._patience, give_up)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if late.is_set():
            self._process.wait()
            raise WorkerError(f"{self.name} gave no answer within {self._patience:g} s and was ended")
        if not line:
            raise self._dead("instead of answering")
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self.close()
            raise WorkerError(f"{self.name} printed {line[:80]!r} where a line of JSON was due")
        return answer

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:
                continue  # what was not sent yet is of no use to a process that has ended

    def _dead(self, when: str) -> WorkerError:
        status = self._process.wait()
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        words = "; ".join(line.strip() for line in lines[-_LAST_LINES:]) or "nothing on stderr"
        return WorkerError(f"{self.name} ended {when}, exit status {status}: {words}")
