"""Memory that is freed stays where it will soon be asked for again."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library is left alone")

CHURN = """
import ctypes, resource
import numpy as np
from pool3.allocation import memory_kept

ctypes.CDLL(None).mallopt(-3, 128 << 10)  # as TensorFlow's generator dataset sets the least size of a mapping

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(1 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
with memory_kept():
    within = faults()
print(before, within, faults())
"""


def churn(**environment: str) -> list[int]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", CHURN], capture_output=True, text=True, check=True, env=kept | environment
    )
    return [int(word) for word in done.stdout.split()]


def test_large_blocks_are_used_again_within_and_given_back_after() -> None:
    before, within, after = churn()
    assert within < before / 5
    assert after > before / 2


def test_what_the_user_tuned_stays() -> None:
    before, within, _ = churn(MALLOC_ARENA_MAX="2")
    assert within > before / 2
