"""Read PyTorch state dicts of the legacy and the zip layout, without PyTorch and without running a pickle.

Layouts, as ``torch/serialization.py`` writes them: a zip holds ``NAME/data.pkl`` and one uncompressed entry
``NAME/data/KEY`` for each storage; a legacy file is a row of pickles (magic number, protocol 1001, sizes of
the system's types, the state dict, the list of storage keys) and then, for each key, the count of elements as
int64 and the elements. Numbers are little-endian; a file that says otherwise is refused.
"""

from __future__ import annotations

import mmap
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.backbones import Backbone
from pool3.errors import WeightsError
from pool3.weights.layouts import torch_layout
from pool3.weights.tensors import Stored, gather
from pool3.weights.unpickle import Name, unpickle

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""First pickle of a legacy file."""

_PROTOCOL = 1001
_LARGEST_PICKLE = 1 << 26  # a state dict's pickle holds names and shapes only: some 100 KB
_MOST_DIMENSIONS = 8

_BFLOAT16 = "bfloat16"
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": _BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
_CALLS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")


@dataclass(frozen=True, slots=True)
class _Storage:
    """A flat run of elements: its key in the file, the type's name in `_STORAGES`, the count of elements."""

    key: str
    type: str
    count: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type in the file; bfloat16 as the uint16 that holds its bits."""
        name = _STORAGES[self.type]
        return np.dtype("<u2" if name == _BFLOAT16 else name)

    @property
    def nbytes(self) -> int:
        """Size in the file."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A strided view of a storage; offset and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_ReadStorage = Callable[[_Storage], memoryview | bytes]


def read_torch(path: Path, backbone: Backbone, *, need_dense: bool) -> dict[str, NDArray[np.float32]]:
    """Read the backbone's tensors from a PyTorch state dict, or from a checkpoint's entry ``state_dict``.

    Returns:
        See `pool3.weights.tensors.gather`.

    Raises:
        WeightsError: the file cannot be read, is damaged or no state dict, its pickle asks for anything but
            tensors, or its tensors are not the backbone's.
    """
    layout = torch_layout(backbone, path)
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
            if is_zip:
                with zipfile.ZipFile(file) as archive:
                    state, read = _open_zip(archive)
                    return gather(_stored(state, read), layout, backbone, path, need_dense=need_dense)
            if file.seek(0, 2) == 0:
                raise _StateDictError("it is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                state, read = _open_legacy(data)
                return gather(_stored(state, read), layout, backbone, path, need_dense=need_dense)
    except _StateDictError as error:
        raise WeightsError(
            f"{path} cannot be used: {error}; give an undamaged PyTorch state dict."
        ) from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise WeightsError(f"{path} is damaged or cannot be read ({error}); get the file again.") from error


class _StateDictError(WeightsError):
    """What is wrong inside a file, as the end of a sentence that names the file."""


def _allowed(name: Name) -> bool:
    return (name.module == "torch" and name.name in _STORAGES) or (
        name.module == "torch._utils" and name.name in _CALLS
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _persistent(pid: Any) -> _Storage:
    """Make a storage of ('storage', type, key, device, count[, view]); the device does not matter here."""
    if not (
        isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage" and pid[5:] in ((), (None,))
    ):
        raise _StateDictError("its pickle refers to something that is not a storage")
    kind, key, count = pid[1], pid[2], pid[4]
    if not (isinstance(kind, Name) and kind.module == "torch" and isinstance(key, str) and _is_count(count)):
        raise _StateDictError("its pickle describes a storage wrongly")
    return _Storage(key, kind.name, count)


def _build(function: Name, arguments: tuple[Any, ...]) -> _Tensor:
    """Make a tensor of what the pickle passes to PyTorch's functions that rebuild one."""
    if function.name == "_rebuild_parameter" and arguments and isinstance(arguments[0], _Tensor):
        return arguments[0]
    if function.name not in ("_rebuild_tensor", "_rebuild_tensor_v2") or len(arguments) < 4:
        raise _StateDictError(f"its pickle calls {function} with the wrong arguments")
    storage, offset, shape, strides = arguments[:4]
    if not (
        isinstance(storage, _Storage)
        and _is_count(offset)
        and isinstance(shape, tuple)
        and isinstance(strides, tuple)
        and len(shape) == len(strides) <= _MOST_DIMENSIONS
        and all(map(_is_count, (*shape, *strides)))
    ):
        raise _StateDictError("its pickle describes a tensor wrongly")
    count = 1
    for size in shape:
        count *= size
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if count > storage.count or (count and last >= storage.count):
        raise _StateDictError(
            f"a tensor of shape {shape} reaches past its storage of {storage.count} elements"
        )
    return _Tensor(storage, offset, shape, strides)


def _parse(source: Any) -> Any:
    try:
        return unpickle(source, _allowed, _build, _persistent)
    except WeightsError as error:
        raise _StateDictError(str(error)) from error


def _open_zip(archive: zipfile.ZipFile) -> tuple[Any, _ReadStorage]:
    """Return the state dict, with tensors for values, and a function that reads a storage."""
    names = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
    if len(names) != 1:
        raise _StateDictError("it is a zip archive without the one data.pkl of a PyTorch file")
    prefix = names[0].removesuffix("data.pkl")

    def read(name: str, size: int | None) -> bytes:
        try:
            info = archive.getinfo(name)
        except KeyError:
            raise _StateDictError(f"its entry {name!r} is missing") from None
        if info.compress_type != zipfile.ZIP_STORED:
            raise _StateDictError(f"its entry {name!r} is compressed, which PyTorch never does")
        if info.file_size > _LARGEST_PICKLE if size is None else info.file_size != size:
            raise _StateDictError(
                f"its entry {name!r} has {info.file_size} bytes, which is not what it must have"
            )
        return archive.read(info)

    if f"{prefix}byteorder" in archive.namelist() and read(f"{prefix}byteorder", len(b"little")) != b"little":
        raise _StateDictError("its numbers are big-endian")
    state = _parse(BytesIO(read(names[0], None)))
    return state, lambda storage: read(f"{prefix}data/{storage.key}", storage.nbytes)


def _open_legacy(data: mmap.mmap) -> tuple[Any, _ReadStorage]:
    """Return the state dict, with tensors for values, and a function that reads a storage."""
    magic = _parse(data)
    if magic != LEGACY_MAGIC:
        raise _StateDictError("it does not start with PyTorch's magic number")
    # what a pickle made is never printed: a small one can have an endless text
    if _parse(data) != _PROTOCOL:
        raise _StateDictError(f"it is not of PyTorch's protocol {_PROTOCOL}")
    system = _parse(data)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise _StateDictError("its numbers are big-endian")
    state, keys = _parse(data), _parse(data)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise _StateDictError("its list of storages is damaged")
    declared = {tensor.storage.key: tensor.storage for tensor in _tensors(state).values()}
    starts: dict[str, int] = {}
    position = data.tell()
    for key in keys:
        if key not in declared:
            raise _StateDictError(f"its storage {key!r} belongs to no tensor")
        head = data[position : position + 8]
        count = struct.unpack("<q", head)[0] if len(head) == 8 else None
        if count != declared[key].count:
            raise _StateDictError(f"its storage {key!r} has {count} elements, not {declared[key].count}")
        starts[key] = position + 8
        position += 8 + declared[key].nbytes
        if position > len(data):
            raise _StateDictError(f"it ends inside its storage {key!r}")

    def read(storage: _Storage) -> bytes:
        if storage.key not in starts or storage != declared[storage.key]:
            raise _StateDictError(f"its storage {storage.key!r} is missing")
        start = starts[storage.key]
        return data[start : start + storage.nbytes]

    return state, read


def _tensors(state: Any) -> Mapping[str, _Tensor]:
    """Return the tensors of a state dict by name, or of the ``state_dict`` entry of a checkpoint."""
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise _StateDictError(f"it holds a {type(state).__name__}, not a state dict")
    wrong = [
        name for name, value in state.items() if not (isinstance(name, str) and isinstance(value, _Tensor))
    ]
    if wrong:
        raise _StateDictError(f"its entry {wrong[0]!r} is not a tensor")
    return state


def _stored(state: Any, read: _ReadStorage) -> dict[str, Stored]:
    def reader(tensor: _Tensor) -> Callable[[], NDArray[Any]]:
        return lambda: _array(tensor, read(tensor.storage))

    return {
        name: Stored(tensor.shape, reader(tensor))
        for name, tensor in _tensors(state).items()
        if not name.endswith(".num_batches_tracked")  # a counter of the training
    }


def _array(tensor: _Tensor, data: memoryview | bytes) -> NDArray[Any]:
    dtype = tensor.storage.dtype
    flat = np.frombuffer(data, dtype)
    if _STORAGES[tensor.storage.type] == _BFLOAT16:  # the upper half of a float32
        flat = (flat.astype("<u4") << np.uint32(16)).view("<f4")
    strides = [stride * flat.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
