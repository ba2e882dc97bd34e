"""What an output is and how far it has come, without reading its features."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pool3.errors import StoreError, StoreNotFoundError
from pool3.store.environments import joined
from pool3.store.folder import ShardFolder
from pool3.store.reader import FeatureFile, open_features
from pool3.store.rows import Failure
from pool3.store.schema import SCHEMA, Provenance
from pool3.store.shard import ShardReader, total
from pool3.store.timing import Timing, summed

MAX_FAILURES = 20
"""Failures that `info` lists; the file itself holds all of them."""


def existing(path: str | os.PathLike[str]) -> Literal["sealed", "unfinished"] | None:
    """Say what is at `path`: a sealed file, the shards of an unfinished one, or nothing.

    Raises:
        StoreError: what is there is neither.
    """
    path = Path(path)
    if path.exists():
        open_features(path).close()
        return "sealed"
    return "unfinished" if ShardFolder(path).manifest() else None


def recorded(path: str | os.PathLike[str]) -> Provenance | None:
    """The settings of the run that began what is at `path`, finished or not; None where none has or nobody can tell."""
    try:
        manifest = ShardFolder(Path(path)).manifest()
        if manifest is not None:
            return manifest.provenance
        with open_features(path) as file:
            return file.provenance
    except StoreError:
        return None


def progress(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Images that are accounted for at `path`, and images in all; zeros where no run has begun.

    Raises:
        StoreError: what is there is damaged.
    """
    folder = ShardFolder(Path(path))
    manifest = folder.manifest()
    if Path(path).exists():
        with open_features(path) as file:
            # Else these shards are to replace the file. Those that it was sealed from go one by one.
            if manifest is None or file.run in (manifest.base, manifest.run):
                return file.inputs, file.inputs
    if manifest is None or manifest.base:
        return 0, 0
    rows, failures = total(folder.committed(manifest).values())
    return rows + failures, manifest.inputs


def info(path: str | os.PathLike[str], *, max_failures: int = MAX_FAILURES) -> dict[str, Any]:
    """Describe an output, sealed or not, as a JSON-able dictionary.

    Keys: ``path``, ``state`` (``sealed`` or ``unfinished``), ``schema``, ``inputs``, ``rows``, ``failures``, ``width``,
    ``committed`` (merged index ranges), ``progress`` (0 to 1), ``labels`` (name → rows), ``unlabelled`` (rows),
    ``failure_reasons`` (the commonest first), ``failed`` (the first `max_failures`), ``provenance``,
    ``environments`` (what computed which indices), ``timing`` (what its rows took: ``images``, ``seconds``, ``stages``
    and ``images_per_second``; None where it was not recorded), ``finished`` and ``fingerprint`` (None while
    unfinished), ``bytes`` (on disk).

    Raises:
        StoreNotFoundError: there is no output.
        StoreError: it is damaged.
    """
    path = Path(path)
    if path.exists():
        with open_features(path) as file:
            return _sealed(file, max_failures)
    return _unfinished(path, max_failures)


def _sealed(file: FeatureFile, max_failures: int) -> dict[str, Any]:
    return {
        "path": str(file.path),
        "state": "sealed",
        "schema": SCHEMA,
        "inputs": file.inputs,
        "rows": len(file),
        "failures": len(file.failures),
        "width": file.features.shape[1],
        "committed": [[0, file.inputs]] if file.inputs else [],
        "progress": 1.0,
        **_labels([file.labels], file.label_names),
        **_reasons(file.failures, max_failures),
        "provenance": file.provenance.to_mapping(),
        "environments": file.environments,
        "timing": _timing(file.timing),
        "finished": file.finished,
        "fingerprint": file.fingerprint,
        "bytes": file.path.stat().st_size,
    }


def _unfinished(path: Path, max_failures: int) -> dict[str, Any]:
    folder = ShardFolder(path)
    manifest = folder.manifest()
    if manifest is None:
        raise StoreNotFoundError(f"there is no feature file {path}, and no unfinished one either")
    committed = folder.committed(manifest)
    rows, failures = total(committed.values())
    labels, failed = [], []
    for limits in committed:
        with ShardReader(folder.shard(limits)) as shard:
            labels.append(shard.labels())
            failed.extend(shard.failures())
    return {
        "path": str(path),
        "state": "unfinished",
        "schema": SCHEMA,
        "inputs": manifest.inputs,
        "rows": rows,
        "failures": failures,
        "width": manifest.width,
        "committed": _merged(committed),
        "progress": (rows + failures) / manifest.inputs if manifest.inputs else 1.0,
        **_labels(labels, manifest.label_names),
        **_reasons(failed, max_failures),
        "provenance": manifest.provenance.to_mapping(),
        "environments": joined(footer.environments for footer in committed.values()),
        "timing": _timing(summed(footer.timing for footer in committed.values())),
        "finished": None,
        "fingerprint": None,
        "bytes": folder.size(),
    }


def _timing(timing: Timing) -> dict[str, Any] | None:
    return timing.to_dict() | {"images_per_second": timing.images_per_second} if timing else None


def _merged(ranges: Iterable[tuple[int, int]]) -> list[list[int]]:
    merged: list[list[int]] = []
    for start, stop in ranges:
        if merged and merged[-1][1] == start:
            merged[-1][1] = stop
        else:
            merged.append([start, stop])
    return merged


def _labels(parts: Iterable[NDArray[np.int32]], names: Sequence[str]) -> dict[str, Any]:
    counts = np.zeros(len(names) + 1, np.int64)  # shifted by one: -1, no label, comes first
    for labels in parts:
        counts += np.bincount(labels + 1, minlength=len(counts))
    return {"labels": dict(zip(names, counts[1:].tolist(), strict=True)), "unlabelled": int(counts[0])}


def _reasons(failures: Sequence[Failure], most: int) -> dict[str, Any]:
    counts = Counter((failure.stage, failure.error) for failure in failures)
    return {
        "failure_reasons": [
            {"stage": stage, "error": error, "count": count} for (stage, error), count in counts.most_common()
        ],
        "failed": [
            {name: getattr(failure, name) for name in Failure.__slots__} for failure in islice(failures, most)
        ],
    }
