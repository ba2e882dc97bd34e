"""The feature file's schema, number 1: names, types and the provenance that every file carries.

Datasets of a file with N rows of D numbers:

===================  =========================  ====================================================
name                 shape and dtype            holds
===================  =========================  ====================================================
``/features``        (N, D) float32 or float16  one row an image, in the source's order; fletcher32
``/ids``             (N,) UTF-8                 one id a row
``/labels``          (N,) int32                 indices into ``/label_names``, -1: none; fletcher32
``/label_names``     (K,) UTF-8                 the classes' names
``/source_index``    (N,) int64                 position in the source, ascending; fletcher32
``/content_sha256``  (N, 32) uint8              SHA-256 of each image's bytes; fletcher32
``/failures``        (F,) of `FAILURE_FIELDS`   the images that became no row, by ascending index
``/environments``    (E,) UTF-8                 JSON objects: ``start``, ``stop`` and the fields of `ENVIRONMENT`
``/parts``           (P,) UTF-8                 JSON objects: the files that were merged, see `pool3.store.merge`
===================  =========================  ====================================================

The fields of `Provenance` are those of the run that began the file, so ``/environments`` says what computed which
range of indices. A dataset without rows has no chunks and no checksums.

Root attributes: ``schema``, every field of `Provenance` (``feature_shape`` as an int64 array, ``libraries`` as a JSON
object), ``inputs``, ``rows``, ``failures`` (counts; ``inputs == rows + failures``), ``digests`` (JSON: dataset →
SHA-256, see `pool3.store.digests`; HDF5's checksums do not cover text), ``finished`` (UTC, ISO 8601), ``run`` (digest
of the settings and the moment that the file was begun with), ``sealed``, and ``fingerprint`` (SHA-256 over all other
attributes, the digests of the datasets among them: one number for the whole file). `TIMING`, JSON, where the time that
the rows took was recorded, see `pool3.store.timing`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

SCHEMA = 1

CHUNK_BYTES = 1 << 20
"""About the size of a chunk of ``/features``: it fits in HDF5's default chunk cache of 1 MiB."""

STORAGES = ("float32", "float16")
"""Dtypes that ``/features`` may have."""

TIMING = "timing"
"""The attribute that says how long the rows took; older files have none."""

FAILURE_FIELDS = ("index", "id", "stage", "error", "message")
"""Fields of the compound ``/failures``: int64, then four UTF-8 strings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Everything needed to repeat a run; each field is a root attribute of the feature file, by the same name.

    Attributes:
        pool3_version: version of pool3 that wrote the file.
        pool3_commit: of the checkout it ran from; empty for an installed wheel, ``unknown`` where git did not say.
        backbone: name of the network.
        feature: name of the feature.
        feature_shape: shape of one image's feature before it was flattened to a row.
        weights: registry name, ``random:SEED``, or ``custom`` for a path of the user's own.
        weights_sha256: SHA-256 of the weights file; of the seed's tensors for random weights.
        tensor_digest: SHA-256 over the tensors, equal for the same weights in any file format.
        preprocessing: resize and normalisation, in words.
        decoder: what turned files into pixels, with the options that change them.
        precision: dtype of the convolutions.
        precision_reason: why that one.
        precision_cosine: smallest cosine of the first images' features with those in float32; 1 for float32 itself,
            -1 where there is none.
        storage: dtype of ``/features``.
        batch_size: the compute shape's first dimension.
        route: where images were resized (see docs/architecture.md).
        threads: intra-op threads of TensorFlow, 0 where TensorFlow chose.
        device: what ran the network.
        compiler: what compiled it: ``grappler``, TensorFlow's graph optimizer, or ``xla``.
        tf32: whether TensorFloat-32 was allowed in float32.
        libraries: library → version, of all that can change a number.
        source: what the user gave as the source.
        source_manifest_sha256: digest of the ordered ids and labels.
        created: UTC, ISO 8601.
    """

    pool3_version: str
    pool3_commit: str
    backbone: str
    feature: str
    feature_shape: tuple[int, ...]
    weights: str
    weights_sha256: str
    tensor_digest: str
    preprocessing: str
    decoder: str
    precision: str
    precision_reason: str
    precision_cosine: float
    storage: str
    batch_size: int
    route: str
    threads: int
    device: str
    compiler: str
    tf32: bool
    libraries: dict[str, str]
    source: str
    source_manifest_sha256: str
    created: str

    def environment(self) -> dict[str, Any]:
        """The fields of `ENVIRONMENT` by name, JSON-able."""
        values = self.to_mapping()
        return {name: values[name] for name in ENVIRONMENT}

    def to_mapping(self) -> dict[str, Any]:
        """The fields by name, JSON-able, all text in valid UTF-8."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}

    def to_attributes(self) -> dict[str, Any]:
        """The fields by name, as types that HDF5 has."""
        values = self.to_mapping()
        shape, libraries = values["feature_shape"], values["libraries"]
        return values | {
            "feature_shape": np.asarray(shape, np.int64),
            "libraries": json.dumps(libraries, ensure_ascii=False, sort_keys=True),
        }

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Provenance:
        """Undo `to_mapping` or `to_attributes`; names that are no field are passed over.

        Raises:
            KeyError: a field is missing.
            ValueError: a value is not of its field's type.
        """
        return cls(**{field.name: _READERS[field.type](values[field.name]) for field in fields(cls)})


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable(str(name)): storable(str(item)) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _libraries(value: Any) -> dict[str, str]:
    return dict(json.loads(value) if isinstance(value, str) else value)


# By the fields' annotations, which are text in this module. HDF5 gives back NumPy's own scalars.
_READERS: dict[Any, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "tuple[int, ...]": lambda value: tuple(int(item) for item in value),
    "dict[str, str]": _libraries,
}


IDENTITY = (
    "backbone",
    "feature",
    "tensor_digest",
    "preprocessing",
    "decoder",
    "precision",
    "storage",
    "source_manifest_sha256",
)
"""The fields of `Provenance` in which a run that adds to a file must agree with the run that began it."""

ENVIRONMENT = (
    "pool3_version",
    "pool3_commit",
    "batch_size",
    "route",
    "threads",
    "device",
    "compiler",
    "tf32",
    "libraries",
)
"""The fields of `Provenance` that a run may change when it goes on with a file; recorded for each range of rows."""

_EXPLAINED_BY = {"tensor_digest": "weights", "source_manifest_sha256": "source"}
"""A digest says that something differs; the field beside it may say what."""

_DIGEST_SHOWN = 12


def differences(old: Provenance, new: Provenance, names: Iterable[str] = IDENTITY) -> list[str]:
    """Name each field of `names` in which two runs differ, like ``precision: float32 → bfloat16``.

    Digests are cut to 12 digits; where the field that explains one differs too, it follows in brackets.
    """
    found = []
    for name in names:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        line = f"{name}: {_shown(name, before)} → {_shown(name, after)}"
        beside = _EXPLAINED_BY.get(name)
        if beside and getattr(old, beside) != getattr(new, beside):
            line += f" ({beside} {getattr(old, beside)} → {getattr(new, beside)})"
        found.append(line)
    return found


def _shown(name: str, value: object) -> str:
    text = str(value) or "(empty)"
    is_digest = name in _EXPLAINED_BY and len(text) > _DIGEST_SHOWN
    return f"{text[:_DIGEST_SHOWN]}…" if is_digest else text


def storable(text: str) -> str:
    """Text as HDF5 can hold it: NUL characters and lone surrogates become backslash escapes, all else stays."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def chunk_rows(row_bytes: int) -> int:
    """Rows of so many bytes in a chunk of about `CHUNK_BYTES`; at least 1."""
    return max(1, CHUNK_BYTES // row_bytes)
