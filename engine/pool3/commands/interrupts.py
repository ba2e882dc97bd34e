"""Ctrl-C and SIGTERM: the first one ends the command in good order, later ones are ignored meanwhile."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

EXIT_CODE = 130


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM. Not a KeyboardInterrupt, which the argument parser would report in its own way."""


_interrupted = False


def install() -> None:
    """Let both signals raise `Interrupted` in the main thread, once."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)


def happened() -> bool:
    """Whether a signal has come. Libraries that were interrupted while they loaded raise something of their own."""
    return _interrupted


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - a signal handler's signature
    global _interrupted
    # An impatient second Ctrl-C must not cut short what the first one has begun to wind up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _interrupted = True
    raise Interrupted
