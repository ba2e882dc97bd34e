"""Collects what a feature file says of the run that made it."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pool3

LIBRARIES = ("tensorflow", "numpy", "h5py", "keras")
"""Distributions whose versions can change a number or the file."""


def commit() -> str:
    """Commit of the checkout that pool3 runs from; empty for an installed wheel, ``unknown`` where git does not say."""
    root = Path(pool3.__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def libraries() -> dict[str, str]:
    """Library → version, of `LIBRARIES` and of the HDF5 that h5py brings."""
    import h5py

    found = {"hdf5": str(h5py.version.hdf5_version)}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            # Builds under other names (tensorflow-rocm, a vendor's own) carry their version in the module.
            found[name] = "unknown"
    return dict(sorted(found.items()))


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
