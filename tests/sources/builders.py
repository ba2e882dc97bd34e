"""Makes the inputs that the tests of the sources read: PNG files, archives, CIFAR-10 batches."""

import io
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def png(value: int, width: int = 2, height: int = 2) -> bytes:
    """An RGB PNG file of one colour; `value`, any integer, tells it from others."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pixel = value.to_bytes(3, "big")
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + pixel * width) * height
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def write_tree(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def write_tar(
    path: Path, files: Sequence[tuple[str | tarfile.TarInfo, bytes]], compression: str = ""
) -> Path:
    with tarfile.open(path, f"w:{compression}", encoding="utf-8", errors="surrogateescape") as tar:  # type: ignore[call-overload]
        for name, content in files:
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def write_zip(path: Path, files: Sequence[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return path


def cifar_rows(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), np.uint8)


def _python2(value: object) -> bytes:
    """Pickle as Python 2 does in protocol 2, where str is bytes."""
    if isinstance(value, dict):
        return b"}(" + b"".join(_python2(key) + _python2(item) for key, item in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_python2, value)) + b"e"
    if isinstance(value, bytes) and len(value) < 256:
        return b"U" + bytes([len(value)]) + value
    if isinstance(value, bytes):
        return b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, np.ndarray):
        shape = b"".join(map(_python2, value.shape)) + b"\x86"  # TUPLE2
        dtype = (
            b"cnumpy\ndtype\n"
            + _python2(b"u1")
            + b"K\x00K\x01\x87R"
            + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        )
        start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        return start + b"(K\x01" + shape + dtype + b"\x89" + _python2(value.tobytes()) + b"tb"
    raise TypeError(type(value))


def python2_pickle(value: object) -> bytes:
    return b"\x80\x02" + _python2(value) + b"."


def cifar_batch(count: int, seed: int) -> dict[bytes, object]:
    return {
        b"batch_label": b"a batch for tests",
        b"labels": [(seed + row) % 10 for row in range(count)],
        b"data": cifar_rows(count, seed),
        b"filenames": [b"%d.png" % row for row in range(count)],
    }


CIFAR_NAMES = [
    b"airplane",
    b"automobile",
    b"bird",
    b"cat",
    b"deer",
    b"dog",
    b"frog",
    b"horse",
    b"ship",
    b"truck",
]


def cifar_files(count: int = 5) -> dict[str, bytes]:
    names = ["data_batch_1", "data_batch_2", "test_batch"]
    files = {name: python2_pickle(cifar_batch(count, seed)) for seed, name in enumerate(names, 1)}
    meta = {b"num_cases_per_batch": count, b"label_names": CIFAR_NAMES, b"num_vis": 3072}
    return {**files, "batches.meta": python2_pickle(meta), "readme.html": b"<html>"}


class Runs:
    """Pickles to a call of a function of the standard library."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def hostile_pickle(function: object, *arguments: object) -> bytes:
    return pickle.dumps({b"data": Runs(function, *arguments), b"labels": [0]}, protocol=2)
