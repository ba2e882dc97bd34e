"""Whether an HDF5 file is built as the schema says: attributes and datasets, their types, shapes and counts.

Nothing of the datasets' values is read here. What is found wrong is left out of what is passed on, so that the
checks after it can go on with the rest, also of a file that was made to do harm.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from math import prod
from typing import Any

import h5py
import numpy as np

from pool3.store.checks import Check
from pool3.store.digests import DATASETS, FINGERPRINT, fingerprint
from pool3.store.schema import FAILURE_FIELDS, STORAGES, TIMING, Provenance
from pool3.store.timing import Timing

UNREADABLE = (
    OSError,
    LookupError,
    ValueError,
    TypeError,
    RuntimeError,
    ArithmeticError,
    AttributeError,
    MemoryError,
)
"""What h5py raises on damage, and what comes of damaged text: of one byte, or of a file made to do harm."""

COLUMNS = {"labels": np.int32, "source_index": np.int64, "content_sha256": np.uint8}
"""Narrow datasets of numbers → their dtype."""

# Text whose type is damaged turns into sequences of any length, of which h5py takes the place for granted.
_SAFE = (h5py.h5t.TypeStringID, h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID, h5py.h5t.TypeEnumID)

# Attribute → its type, in the words of the annotations of `Provenance`.
_TYPES: dict[str, Any] = {
    **{field.name: field.type for field in fields(Provenance)},
    **dict.fromkeys(("schema", "inputs", "rows", "failures"), "int"),
    **dict.fromkeys(("finished", "run", FINGERPRINT), "str"),
    "digests": "dict[str, str]",
    "sealed": "bool",
}


_OPTIONAL = {TIMING: "timing"}
"""Attributes that a file may lack → their type."""


def first_line(error: BaseException) -> str:
    """What an exception says, without the lines that HDF5 adds."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def check_attributes(file: h5py.File) -> tuple[dict[str, Any], Check]:
    """Read the attributes, of the schema and others, and compare their types.

    Returns:
        Those that can be read, as h5py gives them, and the check.
    """
    found: dict[str, Any] = {}
    problems = []
    for name in sorted({*file.attrs, *_TYPES}):
        try:
            found[name] = _attribute(file, name)
        except UNREADABLE as error:
            problems.append(f"{name} is missing or cannot be read ({first_line(error)})")
        else:
            kind = (_TYPES | _OPTIONAL).get(name)
            if kind and not _is_a(kind, found[name]):
                problems.append(f"{name} is {found[name]!r:.80}, which is not what the schema has there")
    if not found.get("sealed", True):
        problems.append("sealed is false: run the extraction again to finish the file")
    return found, Check.of("attributes", problems, f"all {len(_TYPES)} are there")


def _attribute(file: h5py.File, name: str) -> Any:
    """Read an attribute, if it is of a type that one byte of damage cannot make HDF5 crash upon."""
    kind = file.attrs.get_id(name).get_type()
    if not isinstance(kind, _SAFE):
        raise TypeError(f"it is of HDF5's type {type(kind).__name__}")
    return file.attrs[name]


def _is_a(kind: str, value: Any) -> bool:
    """Whether a value, as h5py gives it, is of a type of `_TYPES`."""
    match kind:
        case "int":
            return isinstance(value, np.integer) and int(value) >= 0
        case "float":
            return isinstance(value, np.floating)
        case "bool":
            return isinstance(value, np.bool_)
        case "tuple[int, ...]":
            return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype == np.int64
        case "timing":
            try:
                Timing.from_dict(json.loads(value))
            except UNREADABLE:
                return False
            return True
        case "dict[str, str]":
            try:
                content = json.loads(value)
            except UNREADABLE:
                return False
            return isinstance(content, dict) and all(isinstance(item, str) for item in content.values())
        case _:
            return isinstance(value, str)


def check_fingerprint(attributes: Mapping[str, Any]) -> Check:
    """Compute the digest of the attributes anew."""
    recorded = attributes.get(FINGERPRINT)
    try:
        same = fingerprint(attributes) == recorded
    except UNREADABLE:  # text that is no UTF-8 any more
        same = False
    problems = [] if same else ["an attribute is not what it was when the file was sealed"]
    return Check.of("fingerprint", problems, str(recorded))


def check_datasets(
    file: h5py.File, attributes: Mapping[str, Any], size: int
) -> tuple[dict[str, h5py.Dataset], Check]:
    """Compare the datasets' shapes and types with the schema and the attributes.

    Args:
        file: the file.
        attributes: those of its root.
        size: of the file, in bytes.

    Returns:
        Those that can be read as the schema says, and the check.
    """
    found: dict[str, h5py.Dataset] = {}
    problems: list[str] = []
    for name in DATASETS:
        try:
            dataset = file[name]
            problem = _misfit(name, dataset, size)
            if not problem:
                found[name] = dataset
                problem = _unlike(name, dataset, attributes)
        except UNREADABLE as error:
            problem = f"is missing or cannot be opened ({first_line(error)})"
        if problem:
            problems.append(f"/{name} {problem}")
    return found, Check.of("datasets", problems, f"all {len(DATASETS)} are there, as the schema has them")


def _misfit(name: str, dataset: Any, size: int) -> str:
    """Say why a dataset cannot be read as the schema says; empty where it can."""
    if not isinstance(dataset, h5py.Dataset):
        return "is no dataset"
    shape, dtype = dataset.shape, dataset.dtype
    if name == "features":
        right = shape is not None and len(shape) == 2 and dtype.newbyteorder("=") in STORAGES
    elif name in COLUMNS:
        tail = (32,) if name == "content_sha256" else ()
        right = bool(shape) and shape[1:] == tail and dtype.newbyteorder("=") == COLUMNS[name]
    elif name == "failures":
        index, *texts = FAILURE_FIELDS
        right = bool(shape) and len(shape) == 1 and dtype.names == FAILURE_FIELDS and dtype[index] == np.int64
        right = right and all(_is_text(dtype[text]) for text in texts)
    else:
        right = bool(shape) and len(shape) == 1 and _is_text(dtype)
    if not right:
        return f"holds {shape} {dtype}"
    # Nothing is compressed, so what claims to be more than the file cannot be in it.
    if not dataset.is_virtual and prod(shape) * dtype.itemsize > size:
        return f"claims {shape} values, more than the file has room for"
    # HDF5 makes no others for a dataset that cannot grow; it may never come back from damaged ones.
    if dataset.chunks and (dataset.chunks[0] > shape[0] or dataset.chunks[1:] != shape[1:]):
        return f"has chunks of {dataset.chunks}"
    return ""


def _is_text(dtype: np.dtype[Any]) -> bool:
    text = h5py.check_string_dtype(dtype)
    return text is not None and text.length is None and text.encoding == "utf-8"


def _unlike(name: str, dataset: h5py.Dataset, attributes: Mapping[str, Any]) -> str:
    """Say in what a readable dataset is not as it was written; empty where it is."""
    if name == "features":
        storage, shape = attributes.get("storage"), np.ravel(attributes.get("feature_shape", ())).tolist()
        if dataset.dtype.name != storage or dataset.shape[1] != prod(shape):
            return f"holds {dataset.shape} {dataset.dtype}, but by the attributes rows of {shape} {storage}"
    protected = dataset.is_virtual or (dataset.chunks and dataset.fletcher32)
    if (name == "features" or name in COLUMNS) and len(dataset) and not protected:
        return "has no checksums"
    return ""


def check_counts(datasets: Mapping[str, h5py.Dataset], attributes: Mapping[str, Any]) -> Check:
    """Compare the datasets' lengths with the counts of rows and failures, and these with the inputs."""
    inputs, rows, failures = (attributes.get(name) for name in ("inputs", "rows", "failures"))
    lengths = dict.fromkeys(("features", "ids", *COLUMNS), rows) | {"failures": failures}
    problems = [
        f"/{name} has {len(datasets[name]):,}, not {count}"
        for name, count in lengths.items()
        if name in datasets and len(datasets[name]) != count
    ]
    if inputs is None or rows is None or failures is None or inputs != rows + failures:
        problems.append("they do not add up")
    told = f"{inputs} inputs, {rows} rows and {failures} failures"
    return Check.of("counts", [f"{told} by the attributes: {'; '.join(problems)}"] if problems else [], told)
