"""pool3's own weights file: canonical tensors in HDF5, with checksums, quick to load without TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pool3._version import __version__
from pool3.backbones import Backbone
from pool3.errors import WeightsError
from pool3.weights.layouts import canonical_layout
from pool3.weights.tensors import LoadedWeights, Stored, gather, tensor_digest

SCHEMA_ATTRIBUTE = "pool3_weights_schema"
"""Marks the file; its value is `SCHEMA`."""

SCHEMA = 1
"""Version of the layout: datasets ``/tensors/SCOPE/NAME`` and the attributes that `write_native` sets."""


def write_native(path: Path, weights: LoadedWeights, backbone: Backbone) -> None:
    """Write weights to `path` in one step: at any instant it is the old file or the whole new one.

    Raises:
        WeightsError: the file cannot be written.
    """
    import h5py

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w") as file:
            for name, tensor in weights.tensors.items():
                file.create_dataset(f"tensors/{name}", data=tensor, chunks=True, fletcher32=True)
            file.attrs[SCHEMA_ATTRIBUTE] = SCHEMA
            file.attrs["pool3_version"] = __version__
            file.attrs["backbone"] = backbone.name
            file.attrs["tensor_digest"] = weights.tensor_digest
            file.attrs["source_name"] = weights.name
            file.attrs["source_sha256"] = weights.sha256
            file.attrs["source_format"] = weights.format
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise WeightsError(
            f"{path} could not be written ({error}); name a writable place with free space."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def read_native(path: Path, backbone: Backbone, *, need_dense: bool) -> dict[str, NDArray[np.float32]]:
    """Read a file that `write_native` wrote, and compare its tensor digest.

    Returns:
        See `pool3.weights.tensors.gather`.

    Raises:
        WeightsError: the file is damaged, of another schema or for another backbone, or its tensors are not
            the ones that were written.
    """
    import h5py

    stored: dict[str, Stored] = {}

    def add(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            stored[name] = Stored(tuple(item.shape), lambda: np.asarray(item[()]))

    try:
        with h5py.File(path, "r") as file:
            schema, made_for = file.attrs[SCHEMA_ATTRIBUTE], str(file.attrs["backbone"])
            if schema != SCHEMA:
                raise WeightsError(
                    f"{path} is of weights schema {schema}, where pool3 {__version__} reads {SCHEMA}."
                )
            if made_for != backbone.name:
                raise WeightsError(
                    f"{path} holds weights of {made_for}, not of {backbone.name}; name --backbone {made_for}."
                )
            file["tensors"].visititems(add)
            tensors = gather(stored, canonical_layout(backbone), backbone, path, need_dense=need_dense)
            recorded = str(file.attrs["tensor_digest"])
    except (
        OSError,
        KeyError,
        RuntimeError,
    ) as error:  # what h5py raises on damage, a wrong checksum among it
        raise WeightsError(f"{path} is a damaged weights file ({error}); convert it again.") from error
    found = tensor_digest(tensors)
    if found != recorded:
        raise WeightsError(
            f"The tensors in {path} have digest {found}, where {recorded} was recorded; convert it again."
        )
    return tensors
