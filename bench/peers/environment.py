"""Makes the peers' virtual environment, once for each content of ``requirements.txt``."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from pool3.commands.output import note

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
WITHOUT_DEPENDENCIES = ("torch-fidelity",)

_MARKER = ".installed"


def prepare(folder: Path) -> Path:
    """Make the environment, or find it made.

    A package that cannot be installed is named on stderr and tried again by the next run.

    Returns:
        Its interpreter.
    """
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    marker = folder / _MARKER
    state = marker.read_text(encoding="utf-8").split() if marker.exists() else [""]
    if state == [wanted, "complete"]:
        return python.absolute()
    if state[0] != wanted:
        note(f"making {folder} for OpenVINO, ONNX Runtime and torch-fidelity; this takes minutes, once")
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True, symlinks=os.name != "nt")
        marker.write_text(f"{wanted} begun\n", encoding="utf-8")
    installed = [_install(python, requirement) for requirement in requirements()]
    if all(installed):
        marker.write_text(f"{wanted} complete\n", encoding="utf-8")
    # The path of the link, unresolved: it is what makes an interpreter the environment's.
    return python.absolute()


def requirements() -> list[str]:
    """The lines of ``requirements.txt`` that name a package."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _install(python: Path, requirement: str) -> bool:
    note(f"installing {requirement}")
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]
    if requirement.partition("==")[0] in WITHOUT_DEPENDENCIES:
        command.append("--no-deps")
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        errors = [
            line for line in done.stderr.splitlines() if line.startswith("ERROR")
        ] or done.stderr.splitlines()
        note(f"{requirement} could not be installed: {errors[-1] if errors else 'pip gave no reason'}")
    return done.returncode == 0
