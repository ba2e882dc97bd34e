"""What a feature file and a selection of its rows share: columns, `select`, and ways into other libraries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pool3.errors import MissingLibraryError, SpecError
from pool3.store.schema import Provenance

if TYPE_CHECKING:
    import pandas as pd
    import tensorflow as tf

    from pool3.store.reader import Features

_NAMED = 20
"""Label names that an error lists."""


class Table(ABC):
    """M rows of D numbers, with an id and more for each.

    Attributes:
        path: the feature file.
        provenance: what made it.
        features: (M, D) float32 or float16, read when indexed.
    """

    path: Path
    provenance: Provenance
    features: Features

    @property
    @abstractmethod
    def ids(self) -> list[str]:
        """M ids."""

    @property
    @abstractmethod
    def labels(self) -> NDArray[np.int32]:
        """(M,) int32 indices into `label_names`, -1: none."""

    @property
    @abstractmethod
    def label_names(self) -> tuple[str, ...]:
        """The classes' names."""

    @property
    @abstractmethod
    def source_index(self) -> NDArray[np.int64]:
        """(M,) int64, position of each row in the source."""

    @property
    @abstractmethod
    def content_sha256(self) -> NDArray[np.uint8]:
        """(M, 32) uint8, SHA-256 of each image's bytes."""

    def __len__(self) -> int:
        """Count of rows."""
        return len(self.features)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path} {self.features.shape[0]} × {self.features.shape[1]}>"

    def select(
        self,
        labels: str | int | Iterable[str | int] | None = None,
        ids: str | Iterable[str] | None = None,
        rows: Any = None,
    ) -> Selection:
        """Narrow to the rows that have one of the labels, one of the ids, and are among the rows; None: any.

        Nothing is read of the features before the selection's are indexed.

        Args:
            labels: class names, or indices into `label_names`, -1 for the rows without a label; one or several.
            ids: one or several ids.
            rows: a slice, a mask, an array or a list, as NumPy takes it for the first axis. Its order holds, and
                its repeats; without it, rows stand in the order of the file.

        Raises:
            SpecError: there is no such label or id.
            IndexError: `rows` is no index of one dimension, or out of bounds.
            StoreError: the file is damaged or closed.
        """
        chosen: NDArray[np.int64] = np.arange(len(self))
        if rows is not None:
            chosen = np.atleast_1d(chosen[rows])
            if chosen.ndim != 1:
                raise IndexError(f"rows are chosen along one axis; received an index of shape {chosen.shape}")
        if labels is not None:
            chosen = chosen[np.isin(self.labels[chosen], self._label_numbers(labels))]
        if ids is not None:
            wanted = {ids} if isinstance(ids, str) else set(ids)
            if unknown := wanted - set(self.ids):
                raise SpecError(f"{self.path} has no row with the id {min(unknown, key=str)!r}")
            chosen = chosen[[self.ids[row] in wanted for row in chosen.tolist()]]
        return Selection(self, chosen)

    def _label_numbers(self, labels: str | int | Iterable[str | int]) -> list[int]:
        number: dict[Any, int] = {name: i for i, name in enumerate(self.label_names)}
        number |= {i: i for i in range(-1, len(self.label_names))}
        given = [labels] if isinstance(labels, str | int | np.integer) else list(labels)
        for label in given:
            # A mask would pass for the labels 0 and 1.
            if label not in number or isinstance(label, bool | np.bool_):
                names = ", ".join(self.label_names[:_NAMED]) or "none at all"
                more = len(self.label_names) - _NAMED
                raise SpecError(
                    f"{self.path} has no label {repr(label) if isinstance(label, str) else label}; "
                    f"its labels: {names}{f' and {more} more' if more > 0 else ''}"
                )
        return [number[label] for label in given]

    def spans(self, size: int) -> Iterator[slice]:
        """Yield slices of consecutive rows, each of about `size` bytes of features, and of one row at least."""
        step = max(1, size // (self.features.shape[1] * self.features.dtype.itemsize))
        for start in range(0, len(self), step):
            yield slice(start, min(start + step, len(self)))

    def to_pandas(self, features: bool = True) -> pd.DataFrame:
        """Read all into a DataFrame, indexed by ``id``.

        Columns: ``label``, categories of all label names, missing where there is none; ``source_index`` int64;
        ``content_sha256``, hexadecimal; then, unless `features` is False, ``f0`` to ``f{D-1}`` of the stored dtype.

        Raises:
            MissingLibraryError: pandas is not installed.
            StoreError: the file is damaged or closed.
        """
        pandas = optional("pandas")
        digests = self.content_sha256.tobytes().hex()
        names = [f"f{i}" for i in range(self.features.shape[1])] if features else []
        # Made of the one block of features, without a copy; columns that are inserted leave it whole.
        frame = pandas.DataFrame(
            self.features[:] if features else None,
            index=pandas.Index(self.ids, dtype=str, name="id"),
            columns=names,
            copy=False,
        )
        frame.insert(0, "label", pandas.Categorical.from_codes(self.labels, categories=self.label_names))
        frame.insert(1, "source_index", self.source_index)
        texts = [digests[start : start + 64] for start in range(0, len(digests), 64)]
        frame.insert(2, "content_sha256", pandas.Index(texts, dtype=str))
        return frame

    def as_dataset(self, batch_size: int | None = None) -> tf.data.Dataset:
        """Stream the rows, in order, as a ``tf.data.Dataset`` of ``(features, label)``.

        Elements are single rows, (D,) of the stored dtype and () int32, or batches of them, of which the last may
        be smaller; -1: no label. Memory does not grow with the rows. The file has to stay open; what goes wrong
        while TensorFlow reads arrives as its ``InvalidArgumentError``, with the message of the `StoreError` in it.

        Raises:
            SpecError: `batch_size` is below 1.
            StoreError: the labels are damaged, or the file is closed.
        """
        # Kept out of the store, which knows no TensorFlow.
        from pool3.tfdata import dataset

        return dataset(self, batch_size)


class Selection(Table):
    """Some rows of a feature file, by `Table.select`; read when needed, as the file's own are."""

    def __init__(self, table: Table, rows: NDArray[np.int64]) -> None:
        """Narrow `table` to `rows`: (M,) int64, in any order, repeats and all."""
        self.path, self.provenance = table.path, table.provenance
        self.features = table.features.view(rows)
        self._table = table
        self._rows = rows

    @cached_property
    def ids(self) -> list[str]:
        """M ids."""
        ids = self._table.ids
        return [ids[row] for row in self._rows.tolist()]

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """(M,) int32 indices into `label_names`, -1: none."""
        return self._table.labels[self._rows]

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes' names, all of the file's."""
        return self._table.label_names

    @cached_property
    def source_index(self) -> NDArray[np.int64]:
        """(M,) int64, position of each row in the source."""
        return self._table.source_index[self._rows]

    @cached_property
    def content_sha256(self) -> NDArray[np.uint8]:
        """(M, 32) uint8, SHA-256 of each image's bytes."""
        return self._table.content_sha256[self._rows]


def optional(library: str) -> Any:
    """Import a library of the extra ``tables``.

    Raises:
        MissingLibraryError: it is not installed.
    """
    try:
        return import_module(library)
    except ImportError as error:
        raise MissingLibraryError(
            f"{library} cannot be imported ({error}); install it by pip install 'pool3[tables]'"
        ) from error
