"""Write PyTorch's two file layouts opcode by opcode, honest or hostile, without PyTorch."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.backbones import Backbone, Tensors
from pool3.weights.layouts import torch_layout

ORDERED_DICT = b"ccollections\nOrderedDict\n)R"
KINDS = {
    "<f8": "Double",
    "<f4": "Float",
    "<f2": "Half",
    "<i8": "Long",
    "<i4": "Int",
    "<i2": "Short",
    "|i1": "Char",
    "|u1": "Byte",
    "|b1": "Bool",
}


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    if 0 <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes((value.bit_length() // 8) + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def group(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


@dataclass
class Entry:
    """One tensor: the bytes of its storage, and how the pickle describes storage and view."""

    data: bytes
    kind: str
    count: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    call: str = "torch._utils\n_rebuild_tensor_v2"

    def pickled(self, key: str, *, legacy: bool) -> bytes:
        storage = [
            text("storage"),
            f"ctorch\n{self.kind}Storage\n".encode(),
            text(key),
            text("cpu"),
            integer(self.count),
        ]
        pid = group(*storage, *([b"N"] if legacy else [])) + b"Q"
        view = (integer(self.offset), group(*map(integer, self.shape)), group(*map(integer, self.strides)))
        return f"c{self.call}\n".encode() + group(pid, *view, b"\x89", ORDERED_DICT) + b"R"


def entry(array: NDArray[Any]) -> Entry:
    """Contiguous, of the array's own type."""
    flat = np.ascontiguousarray(array)
    strides = tuple(step // flat.itemsize for step in flat.strides)
    return Entry(flat.tobytes(), KINDS[flat.dtype.str], flat.size, flat.shape, strides)


def state_dict(entries: Mapping[str, Entry], *, legacy: bool) -> bytes:
    pairs = b"".join(
        text(name) + item.pickled(str(key), legacy=legacy) for key, (name, item) in enumerate(entries.items())
    )
    return ORDERED_DICT + b"(" + pairs + b"u" + b"}" + text("_metadata") + ORDERED_DICT + b"sb"


def write_legacy(path: Path, entries: Mapping[str, Entry], state: bytes | None = None) -> Path:
    body = state_dict(entries, legacy=True) if state is None else state
    parts = [
        pickle.dumps(0x1950A86A20F9469CFC6C, 2),
        pickle.dumps(1001, 2),
        pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2}}, 2),
        b"\x80\x02" + body + b".",
        pickle.dumps([str(key) for key in range(len(entries))], 2),
    ]
    parts += [struct.pack("<q", min(item.count, (1 << 63) - 1)) + item.data for item in entries.values()]
    path.write_bytes(b"".join(parts))
    return path


def write_zip(
    path: Path,
    entries: Mapping[str, Entry],
    state: bytes | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    body = state_dict(entries, legacy=False) if state is None else state
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + body + b".")
        archive.writestr("archive/byteorder", "little")
        for key, item in enumerate(entries.values()):
            archive.writestr(f"archive/data/{key}", item.data)
    return path


def torch_arrays(tensors: Tensors, backbone: Backbone) -> dict[str, NDArray[np.float32]]:
    """Canonical tensors under PyTorch's names, in PyTorch's order of axes."""
    layout = torch_layout(backbone, Path("-"))
    return {
        name: np.ascontiguousarray(tensors[place.canonical].transpose(np.argsort(place.axes)))
        for name, place in layout.items()
        if place.canonical in tensors
    }


def entries_of(tensors: Tensors, backbone: Backbone) -> dict[str, Entry]:
    return {name: entry(array) for name, array in torch_arrays(tensors, backbone).items()}
