"""Makes ``fixtures/schema1.h5``, a small sealed file that every later version has to read: run it once a schema.

    python -m tests.store.make_fixture

A file that exists is left alone: what was written by an older version is what the test is about.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pool3.store import SCHEMA
from tests.store.examples import write

FIXTURES = Path(__file__).with_name("fixtures")
FAILED = (6, 13)


def fixture(schema: int) -> Path:
    """Where the file of a schema lies."""
    return FIXTURES / f"schema{schema}.h5"


if __name__ == "__main__":
    FIXTURES.mkdir(exist_ok=True)
    path = fixture(SCHEMA)
    if path.exists():
        sys.exit(f"{path} exists; it stays as the version that introduced schema {SCHEMA} wrote it")
    write(path, failed=FAILED)
    print(path)
