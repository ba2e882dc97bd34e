"""Features as a ``tf.data.Dataset``; beside the store, which imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from pool3.errors import SpecError

if TYPE_CHECKING:
    from pool3.store.table import Table

_READ_BYTES = 4 << 20
"""Bytes of features that are read at a time."""


def dataset(table: Table, batch_size: int | None = None) -> tf.data.Dataset:
    """See `pool3.store.table.Table.as_dataset`."""
    if batch_size is not None and batch_size < 1:
        raise SpecError(f"batch_size must be at least 1, or None for single rows; received {batch_size}")
    _ = table.features[:0]  # where the file is closed, say so here and not from within TensorFlow
    labels = table.labels

    def blocks() -> Iterator[tuple[Any, Any]]:
        for span in table.spans(_READ_BYTES):
            yield table.features[span], labels[span]

    signature = (
        tf.TensorSpec((None, table.features.shape[1]), table.features.dtype),
        tf.TensorSpec((None,), labels.dtype),
    )
    rows = tf.data.Dataset.from_generator(blocks, output_signature=signature)
    rows = rows.unbatch() if batch_size is None else rows.rebatch(batch_size)
    count = len(table) if batch_size is None else -(-len(table) // batch_size)
    return rows.apply(tf.data.experimental.assert_cardinality(count))
