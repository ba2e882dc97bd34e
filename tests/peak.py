"""The peak of a process's memory, for programs that tests run in processes of their own."""

import re
from pathlib import Path

import pytest

_STATUS = Path("/proc/self/status")

needs_linux = pytest.mark.skipif(not _STATUS.exists(), reason="asks Linux for the peak")


def peak_bytes() -> int:
    """Peak of resident memory since this program began.

    Not from the resource module: what it gives begins with the peak of the process that started this one.
    """
    found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    assert found
    return int(found[1]) << 10
