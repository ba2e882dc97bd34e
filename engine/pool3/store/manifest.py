"""What an unfinished output will be, written down before its first row."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pool3.errors import StoreError
from pool3.store.disk import written_aside
from pool3.store.schema import SCHEMA, Provenance, differences, storable


@dataclass(frozen=True)
class Manifest:
    """The settings that all shards of an output share; never rewritten once it lies in their folder.

    Attributes:
        provenance: of the run that began the output.
        inputs: images in the source.
        width: numbers a row, D.
        label_names: the classes' names.
        rows_per_shard: images in a range; the last may have fewer.
        base: `run` of the sealed file whose failures are tried again; empty for a run of its own.
    """

    provenance: Provenance
    inputs: int
    width: int
    label_names: tuple[str, ...]
    rows_per_shard: int
    base: str = ""

    def __post_init__(self) -> None:
        if self.inputs < 0 or self.width < 1 or self.rows_per_shard < 1:
            raise StoreError(
                f"inputs must be at least 0, width and rows_per_shard at least 1; received {self.inputs}, "
                f"{self.width} and {self.rows_per_shard}"
            )
        for name in self.label_names:
            if storable(name) != name:
                raise StoreError(
                    f"the label name {name!a} cannot be stored: use UTF-8 without NUL characters"
                )

    def ranges(self) -> list[tuple[int, int]]:
        """The index ranges that are committed one by one, ascending."""
        step = self.rows_per_shard
        return [(start, min(start + step, self.inputs)) for start in range(0, self.inputs, step)]

    def range_of(self, index: int) -> tuple[int, int]:
        """The range that an index lies in."""
        start = index - index % self.rows_per_shard
        return start, min(start + self.rows_per_shard, self.inputs)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of features."""
        return self.width * np.dtype(self.provenance.storage).itemsize

    @property
    def image_bytes(self) -> int:
        """About what one image takes in a shard, and again in the sealed file, ids and digests included."""
        return self.row_bytes + 128

    @cached_property
    def run(self) -> str:
        """Digest of the manifest, 64 hexadecimal digits; each shard carries it."""
        return hashlib.sha256(self._to_json()).hexdigest()

    def write(self, path: Path) -> None:
        """Write it in one step.

        Raises:
            OSError: it cannot be written.
        """
        with written_aside(path) as file:
            file.write(self._to_json())

    def _to_json(self) -> bytes:
        content = {
            "schema": SCHEMA,
            "inputs": self.inputs,
            "width": self.width,
            "rows_per_shard": self.rows_per_shard,
            "label_names": self.label_names,
            "base": self.base,
            "provenance": self.provenance.to_mapping(),
        }
        return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True).encode()

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read what `write` wrote.

        Raises:
            StoreError: it is damaged, or of a newer pool3.
        """
        try:
            content = json.loads(path.read_bytes())
            check_schema(content["schema"], path)
            return cls(
                provenance=Provenance.from_mapping(content["provenance"]),
                inputs=content["inputs"],
                width=content["width"],
                label_names=tuple(content["label_names"]),
                rows_per_shard=content["rows_per_shard"],
                base=content["base"],
            )
        except StoreError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{path}, which says what the unfinished output is, cannot be read ({error}); "
                "start again with --overwrite"
            ) from error

    def differences(self, new: Manifest) -> list[str]:
        """Name each setting in which `new` could not add to this one; `rows_per_shard` may differ."""
        found = differences(self.provenance, new.provenance)
        for name in ("inputs", "width"):
            before, after = getattr(self, name), getattr(new, name)
            if before != after:
                found.append(f"{name}: {before} → {after}")
        if len(self.label_names) != len(new.label_names):
            found.append(f"label_names: {len(self.label_names)} → {len(new.label_names)} names")
        else:
            pairs = enumerate(zip(self.label_names, new.label_names, strict=True))
            changed = [f"label_names: number {i} {a!r} → {b!r}" for i, (a, b) in pairs if a != b]
            found.extend(changed[:1])
        return found


def check_schema(schema: int, path: Path) -> None:
    """Raise `StoreError` where a file's schema is not one that this pool3 reads."""
    if schema > SCHEMA:
        raise StoreError(f"{path} was written by a newer pool3 (schema {schema}); upgrade pool3 to read it")
    if schema != SCHEMA:
        raise StoreError(f"{path} has schema {schema}, which no pool3 has written; make the file again")
