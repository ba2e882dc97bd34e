"""Tell what a weights file is by its content; its name proves nothing."""

from __future__ import annotations

from pathlib import Path

from pool3.errors import WeightsError
from pool3.weights.native import SCHEMA_ATTRIBUTE
from pool3.weights.registry import Format

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_GZIP = b"\x1f\x8b"
_PICKLE = b"\x80"  # opcode PROTO
_FIRST_NODE = b"\x0a"  # a GraphDef starts with its field 1, of a length


def sniff(path: Path) -> Format:
    """Return the format of a weights file.

    Raises:
        WeightsError: it is none that pool3 reads, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read ({error.strerror}); give a readable weights file."
        ) from error
    if head.startswith(_HDF5):
        return _sniff_hdf5(path)
    if head.startswith(_ZIP):
        return "torch-zip"
    if head.startswith(_GZIP) or head[257:262] == b"ustar":
        return "graphdef-tar"
    if head.startswith(_PICKLE):
        return "torch-legacy"
    if head.startswith(_FIRST_NODE):
        return "graphdef"
    raise WeightsError(
        f"{path} is no weights file that pool3 reads (it starts with {head[:8]!r}); "
        "give a PyTorch state dict, "
        "the frozen graph of 2015-12-05, a Keras HDF5 file, or what `pool3 weights convert` wrote."
    )


def _sniff_hdf5(path: Path) -> Format:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if SCHEMA_ATTRIBUTE in file.attrs:
                return "native"
            root = file.get("model_weights", file)
            if "layer_names" in root.attrs:
                return "keras-legacy"
            if "layers" in root:
                return "keras3"
    except (OSError, KeyError, RuntimeError) as error:  # what h5py raises on damage
        raise WeightsError(f"{path} is a damaged HDF5 file ({error}); get the file again.") from error
    raise WeightsError(f"{path} is an HDF5 file without weights of Keras or pool3; give a weights file.")
