"""The two trees that are compared: a checkout of the base, an interpreter that suits it, and runs of one side."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.protocol import Worker
from pool3.commands.output import note
from pool3.errors import Pool3Error

ROOT = Path(__file__).resolve().parents[2]


class GateError(Pool3Error, RuntimeError):
    """The gate cannot compare: no such commit, no environment, a side that does not run."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A checkout and the interpreter that has its dependencies.

    Attributes:
        root: holds ``engine/`` and ``kernels/``.
        commit: of the checkout; with ``-dirty`` where files differ from it.
        python: the interpreter.
    """

    root: Path
    commit: str
    python: Path

    def side(self, scratch: Path) -> Worker:
        """Start one side in a fresh process; it says ``modules`` when it is ready, see `bench.gate.side`.

        Args:
            scratch: folder for the files of its cases and its log.
        """
        paths = (self.root / "engine", self.root / "kernels", ROOT)
        scratch.mkdir(parents=True)
        options = ["--root", str(self.root), "--scratch", str(scratch)]
        return Worker(
            self.commit[:12],
            [str(self.python), "-m", "bench.gate.side", *options],
            log=scratch / "stderr.log",
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
        )


def git(*arguments: str, root: Path = ROOT) -> str:
    """Run git in a tree.

    Raises:
        GateError: git failed; its own words are in the message.
    """
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GateError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def head() -> Tree:
    """The tree that this code stands in."""
    dirty = "-dirty" if git("status", "--porcelain", "--untracked-files=no") else ""
    return Tree(ROOT, git("rev-parse", "HEAD") + dirty, Path(sys.executable))


@contextmanager
def base(ref: str, environments: Path) -> Iterator[Tree]:
    """Check a commit out beside this tree for the time of the block.

    Args:
        ref: anything that names a commit to git.
        environments: folder for virtual environments of other dependencies; they are kept for the next time.

    Raises:
        GateError: there is no such commit, or its dependencies cannot be installed.
    """
    commit = git("rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="pool3-base-") as scratch:
        root = Path(scratch).resolve() / "tree"
        git("worktree", "add", "--detach", "--force", str(root), commit)
        try:
            yield Tree(root, commit, _interpreter(root, environments))
        finally:
            git("worktree", "remove", "--force", str(root))


def _interpreter(root: Path, environments: Path) -> Path:
    """The running interpreter where the dependencies are the same, else that of an environment with the base's."""
    theirs = _dependencies(root)
    if theirs == _dependencies(ROOT):
        return Path(sys.executable)
    key = hashlib.sha256(json.dumps([theirs, sys.version]).encode()).hexdigest()[:12]
    folder = environments.resolve() / key
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        note(f"the base has other dependencies: installing them into {folder}")
        # On a terminal pip shows its own progress; a log needs none of it.
        shown, quiet = (sys.stderr, []) if sys.stderr.isatty() else (subprocess.PIPE, ["--quiet"])
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", *quiet, "--disable-pip-version-check", *theirs],
        ):
            done = subprocess.run(command, stdout=shown, stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise GateError(f"the base's dependencies cannot be installed: {last}")
        complete.touch()
    return python


def _dependencies(root: Path) -> list[str]:
    try:
        found = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "dependencies"
        ]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise GateError(f"{root / 'pyproject.toml'} names no dependencies: {error}") from error
    return sorted(map(str, found))
