"""A program that does the store's work in forked children, each of which can kill itself at its n-th moment.

A moment is the instant before or after a call that changes something on the disk, or between two steps of one.
Jobs come as lines of JSON on stdin; for each, one line with the child's exit status goes to stdout. A child's notes
(moments, ranges begun and ranges committed) stand in a file, where they outlive it. The program imports the store and
nothing of TensorFlow, and patches only its children.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import traceback
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py

from pool3.errors import OutputExistsError
from pool3.store import Failure, FeatureWriter, Rows
from pool3.store import shard as shard_module
from pool3.store.disk import TEMPORARY
from tests.store.examples import INPUTS, NAMES, PROVENANCE, make_rows

WIDTH = 1000
STEP = 6
PIECE = 1 << 13
"""Bytes that a shard is written in at a time here: each range has more than one of them."""
FAILED = frozenset({0, 6, 7, 13})
STILL = frozenset({7})
"""Those of `FAILED` that fail again when they are tried again."""

NEW = {"created": "2026-02-02T00:00:00+00:00", "device": "another CPU"}
"""What a later run's provenance says."""

Limits = tuple[int, int]


class Moments:
    """Counts moments, notes them, and dies at one of them.

    Args:
        notes: the file that they are noted in.
        deadly: number of the moment to die at; 0: none.
        power: die as if the power failed: bytes and names that were not flushed to the disk are lost too.
    """

    def __init__(self, notes: Path, deadly: int, power: bool) -> None:
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._aside = notes.parent
        self._deadly, self._power = deadly, power
        self._count = 0
        self._bytes: set[Path] = set()  # files that were written and not flushed
        self._renames: list[tuple[Path, Path, Path | None]] = []  # not flushed: from, to, what was there

    def note(self, what: str, value: Any) -> None:
        os.write(self._notes, json.dumps([what, value]).encode() + b"\n")

    def pass_(self, name: str) -> None:
        self._count += 1
        self.note("moment", name)
        if self._count == self._deadly:
            if self._power:
                self._lose()
            os.kill(os.getpid(), signal.SIGKILL)

    def _lose(self) -> None:
        for path in self._bytes:
            os.truncate(path, path.stat().st_size // 2)
        for source, target, before in reversed(self._renames):
            os.rename(target, source)  # noqa: PTH104 - Path's are patched
            if before:
                os.rename(before, target)  # noqa: PTH104

    def watch(self) -> None:
        """Patch what the store writes with."""
        # No kill takes what the kernel has, and what a power failure takes is `_lose`'s to say: nobody has to wait.
        os.fsync = lambda _: None
        self._around(os, "fsync", lambda descriptor: f"fsync {_kind(_of(descriptor))}", then=self._flushed)
        self._around(
            Path,
            "open",
            lambda path, mode="r", **_: f"open {_kind(path)}" if set(mode) & set("wa+") else None,
            then=self._written,
        )
        self._around(os, "open", lambda path, *_, **__: f"open {_kind(Path(path))}")
        for name in ("replace", "rename"):
            self._around(
                Path, name, lambda path, _: f"rename {_kind(path)}", first=self._kept, then=self._renamed
            )
        for name in ("unlink", "rmdir", "mkdir"):
            self._around(Path, name, lambda path, name=name, **_: f"{name} {_kind(path)}")
        self._around(
            h5py.File,
            "__init__",
            lambda _, __, mode="r", **___: "create output" if mode == "w" else None,
            then=self._made,
        )
        self._around(h5py.File, "close", lambda file: "close output" if file and file.mode == "r+" else None)
        self._around(h5py.Group, "create_dataset", lambda _, name, *__, **___: f"create /{name}")
        self._around(h5py.Dataset, "__setitem__", lambda data, *_: f"write {data.name}")
        # Of the attributes, which HDF5 keeps in memory, the last but one.
        self._around(
            h5py.AttributeManager,
            "__setitem__",
            lambda _, name, __: "write sealed" if name == "sealed" else None,
        )
        # Steps within a change: after one of them is before the next.
        self._around(shard_module, "start_writing", lambda _: "start_writing", step=True)
        self._around(zlib, "crc32", lambda *_: "checksum", step=True)

    def _around(
        self,
        owner: Any,
        name: str,
        label: Callable[..., str | None],
        *,
        first: Callable[..., None] | None = None,
        then: Callable[..., None] | None = None,
        step: bool = False,
    ) -> None:
        """Make a call a moment, or one before and one after it; `label` says None where it is none."""
        real = getattr(owner, name)

        @functools.wraps(real)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            what = label(*arguments, **named)
            if what is None:
                return real(*arguments, **named)
            self.pass_(f"before {what}")
            if first:
                first(*arguments)
            result = real(*arguments, **named)
            if then:
                then(*arguments)
            if not step:
                self.pass_(f"after {what}")
            return result

        setattr(owner, name, wrapped)

    def _written(self, path: Path, *_: object) -> None:
        self._bytes.add(path)

    def _made(self, _: h5py.File, path: Path, *__: object) -> None:
        self._bytes.add(path)

    def _flushed(self, descriptor: int) -> None:
        path = _of(descriptor)
        self._bytes.discard(path)
        self._renames = [rename for rename in self._renames if rename[1].parent != path]

    def _kept(self, source: Path, target: Path) -> None:
        before = None
        if self._power and target.exists():
            before = self._aside / f"replaced-{os.getpid()}-{self._count}"
            os.link(target, before)
        self._renames.append((source, target, before))

    def _renamed(self, source: Path, target: Path) -> None:
        if source in self._bytes:
            self._bytes.remove(source)
            self._bytes.add(target)


def _of(descriptor: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115


def _kind(path: Path) -> str:
    """What a path is for, without the numbers in its name."""
    name = path.name.removesuffix(TEMPORARY)
    kinds = {".shard": "shard", ".json": "manifest", ".partial": "partial output", ".shards": "folder of shards",
             ".h5": "output"}  # fmt: skip
    kind = kinds.get(Path(name).suffix, "folder")
    return f"temporary {kind}" if name != path.name else kind


def opened(
    path: Path, *, overwrite: bool = False, retry_failed: bool = False, **provenance: object
) -> FeatureWriter:
    return FeatureWriter.open(
        path,
        replace(PROVENANCE, **provenance),
        inputs=INPUTS,
        width=WIDTH,
        label_names=NAMES,
        rows_per_shard=STEP,
        overwrite=overwrite,
        retry_failed=retry_failed,
    )


def rows(start: int, stop: int) -> Rows:
    return make_rows(start, stop, width=WIDTH, failed=FAILED)


def patch(limits: Limits, indices: list[int]) -> Rows:
    """What becomes of failures that are tried again."""
    all_ = make_rows(*limits, width=WIDTH)
    here = [index - limits[0] for index in indices if index not in STILL]
    return Rows(
        start=limits[0],
        stop=limits[1],
        source_index=all_.source_index[here],
        ids=[all_.ids[row] for row in here],
        labels=all_.labels[here],
        content_sha256=all_.content_sha256[here],
        features=all_.features[here],
        failures=[Failure(i, f"id of {i}", "open", "OSError", "again") for i in indices if i in STILL],
    )


Note = Callable[[str, Any], None]


def write(path: Path, note: Note) -> None:
    _complete(opened(path), note)


def overwrite(path: Path, note: Note) -> None:
    """Go on with the new file; where there is nothing of it yet, begin it."""
    try:
        writer = opened(path, precision="bfloat16", **NEW)
    except OutputExistsError:
        writer = opened(path, precision="bfloat16", **NEW, overwrite=True)
    _complete(writer, note)


def retry(path: Path, note: Note) -> None:
    with opened(path, **NEW, retry_failed=True) as writer:
        for limits, indices in writer.failed():
            note("begun", limits)
            writer.amend(patch(limits, indices.tolist()))
            note("committed", limits)
        _complete(writer, note)


def _complete(writer: FeatureWriter, note: Note) -> None:
    with writer:
        for limits in writer.pending():
            note("begun", limits)
            writer.commit(rows(*limits))
            note("committed", limits)
        writer.seal()


WORK = {"write": write, "overwrite": overwrite, "retry": retry}


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                shard_module._PIECE = PIECE
                moments = Moments(Path(job["notes"]), job["moment"], job["power"])
                moments.watch()
                WORK[job["work"]](Path(job["path"]), moments.note)
                os._exit(0)
            except BaseException:  # noqa: BLE001
                traceback.print_exc()
                os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
