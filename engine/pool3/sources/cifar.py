"""CIFAR-10 as its author distributes it for Python: pickles, read here without running anything in them.

The batches are pickles of Python 2, protocol 2. An ordinary unpickler would call whatever a file names; the
one here knows the four names that such a file needs, calls none of them, and keeps what they were to be
called with. The array is then made from those plain values, after a check.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.errors import SourceError, SourceNotFoundError
from pool3.sources import labels as labelling
from pool3.sources.base import MAX_ENCODED_BYTES, Content, Source
from pool3.sources.files import absolute
from pool3.sources.naming import escape
from pool3.sources.tars import open_tar

BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
META = "batches.meta"
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
_ROW = 3 * SIDE * SIDE

_RECONSTRUCT = "_reconstruct"
_GLOBALS = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",  # how Python 3 writes bytes in protocol 2
}


class CifarSource(Source):
    """CIFAR-10's python batches: the folder, one batch file, or the archive ``cifar-10-python.tar.gz``.

    Images are arrays of shape (32, 32, 3). Ids are ``data_batch_1/00000`` and so on. All rows are held in
    memory: 3 KiB an image, 176 MiB for all six batches, and about twice that while opening. Label names come from
    ``batches.meta`` where it lies with the batches, else they are the ten known ones.

    Args:
        path: folder, batch file or tar archive.
        batches: which batches, in this order, such as ``("data_batch_1",)``; by default all that are there,
            ``data_batch_1`` … ``data_batch_5`` then ``test_batch``.
        description: what the user asked for; the path where None.

    Raises:
        SourceNotFoundError: a batch asked for is not there.
        SourceError: a file is damaged, names anything but what a batch needs, or is not shaped as a batch is.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        batches: Sequence[str] | None = None,
        *,
        description: str | None = None,
    ) -> None:
        place = Path(path)
        if isinstance(batches, str):
            raise SourceError(f"batches={batches!r} is a string: give a sequence, such as ({batches!r},)")
        wanted = list(dict.fromkeys(BATCHES if batches is None else batches))
        for name in wanted:
            if name not in BATCHES:
                raise SourceError(f"CIFAR-10 has no batch {name!r}: choose from {', '.join(BATCHES)}")
        files, self.location = _files(place, wanted)
        found = [name for name in wanted if name in files]
        if not found or (batches is not None and len(found) < len(wanted)):
            missing = [name for name in wanted if name not in files]
            raise SourceNotFoundError(
                f"{path} lacks {', '.join(missing)}: fetch CIFAR-10's python version again"
            )
        self.description = escape(str(path)) if description is None else description
        names = _class_names(files[META], f"{META} of {path}") if META in files else CLASS_NAMES
        self._rows: list[NDArray[np.uint8]] = []
        self.ids = ids = list[str]()
        numbers: list[int] = []
        for name in found:
            rows, row_labels = _batch(
                files.pop(name), str(path) if place.name == name else f"{name} of {path}"
            )
            self._rows.extend(rows)
            ids.extend(f"{name}/{row:05d}" for row in range(len(rows)))
            numbers.extend(row_labels)
        self.labels, self.label_names = labelling.from_indices(numbers, names, self.description)
        self.image_shape = (SIDE, SIDE)

    def read(self, start: int, stop: int) -> Iterator[Content]:
        """Yield arrays of shape (32, 32, 3), uint8, RGB."""
        return map(self._image, self._check_range(start, stop))

    def _image(self, index: int) -> NDArray[np.uint8]:
        planes = self._rows[index].reshape(3, SIDE, SIDE)
        return np.ascontiguousarray(planes.transpose(1, 2, 0))


def is_cifar_folder(path: Path) -> bool:
    """Tell whether a folder holds CIFAR-10's python batches."""
    return any((path / name).is_file() for name in (*BATCHES, META))


def is_cifar_archive(path: Path) -> bool:
    """Tell by its first members, of which the real archive has ten, whether a tar file is CIFAR-10's.

    Raises:
        SourceError: the file is no tar file, or damaged where it begins.
    """
    with open_tar(path) as members:
        for _, (member, _) in zip(range(10), members, strict=False):
            if member.isreg() and PurePosixPath(member.name).name in (*BATCHES, META):
                return True
    return False


def _files(path: Path, wanted: Sequence[str]) -> tuple[dict[str, bytes], Path]:
    """Read the wanted batches that exist, and the names; also what their ids are relative to."""
    names = (*wanted, META)
    place = absolute(path)
    if path.is_dir():
        return {name: _bytes(path / name) for name in names if (path / name).is_file()}, place
    if path.name in BATCHES:
        beside = path.with_name(META)
        files = {path.name: _bytes(path)} if path.name in wanted else {}
        if beside.is_file():
            files[META] = _bytes(beside)
        return files, place.parent
    files = {}
    with open_tar(path) as members:
        for member, tar in members:
            name = PurePosixPath(member.name).name
            if member.isreg() and name in names:
                _check_size(member.size, f"{name} of {path}")
                content = tar.extractfile(member)
                files[name] = b"" if content is None else content.read()
    return files, place


def _bytes(path: Path) -> bytes:
    try:
        _check_size(path.stat().st_size, str(path))
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"the batch {path} cannot be read ({error.strerror}): check the file") from error


def _check_size(size: int, given: str) -> None:
    if size > MAX_ENCODED_BYTES:
        raise SourceError(
            f"{given} has {size} bytes, where a batch of CIFAR-10 has 31 million: check the file"
        )


class _Call:
    """A call that a pickle asks for; it is kept, not made."""

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: str, arguments: tuple[object, ...]) -> None:
        self.name = name
        self.arguments = arguments
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Name:
    """A global that a pickle may name. A call of it is kept; only bytes are made, from latin-1 text."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *arguments: object) -> object:
        if self.name != "encode":
            return _Call(self.name, arguments)
        text, encoding = arguments
        if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
            raise pickle.UnpicklingError("bytes in an encoding other than latin1")
        return text.encode("latin1")

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError(f"state for {self.name}")


class _Unpickler(pickle.Unpickler):
    """Builds dict, list, tuple, str, bytes and numbers; a global is one of `_GLOBALS`, and inert."""

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) not in _GLOBALS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch of CIFAR-10 needs")
        return _Name(_GLOBALS[module, name])


def _unpickle(content: bytes, given: str) -> dict[str, Any]:
    try:
        for opcode, argument, _ in pickletools.genops(content):
            # The table of remembered objects grows to any index: a few bytes could ask for all memory.
            if opcode.name.endswith("PUT") and isinstance(argument, int) and argument > len(content):
                raise pickle.UnpicklingError(f"it asks for a table of {argument} entries")
        loaded = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(loaded, dict):
            raise pickle.UnpicklingError("it holds no dictionary")
    except (
        pickle.UnpicklingError, EOFError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError,
        MemoryError,
    ) as error:  # fmt: skip
        raise SourceError(
            f"{given} is not a pickle of CIFAR-10 ({_line(str(error))}): fetch the python version again"
        ) from error
    return {_text(key): value for key, value in loaded.items()}


def _line(text: str) -> str:
    return escape(text if len(text) <= 200 else f"{text[:200]}…")


def _text(value: object) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _class_names(content: bytes, given: str) -> tuple[str, ...]:
    names = _unpickle(content, given).get("label_names")
    if not (isinstance(names, list) and names and all(isinstance(name, bytes | str) for name in names)):
        raise SourceError(f"{given} holds no list of label_names: fetch CIFAR-10 again")
    return tuple(escape(_text(name)) for name in names)


def _batch(content: bytes, given: str) -> tuple[NDArray[np.uint8], list[int]]:
    """Read one batch: rows (N, 3072) uint8, the red plane, then green, then blue; and N labels."""
    batch = _unpickle(content, given)
    rows = _rows(batch.get("data"), given)
    labels = batch.get("labels")
    if not (isinstance(labels, list) and all(type(label) is int for label in labels)):
        raise SourceError(f"{given} holds no list of integer labels: fetch CIFAR-10's python version again")
    if len(labels) != len(rows):
        raise SourceError(f"{given} holds {len(rows)} images but {len(labels)} labels: fetch CIFAR-10 again")
    return rows, labels


def _rows(call: object, given: str) -> NDArray[np.uint8]:
    """Make the array that the pickle describes; its state is (version, shape, dtype, is_fortran, bytes)."""
    if isinstance(call, _Call) and call.name == _RECONSTRUCT:
        match call.state:
            case (int(), (int(count), int(width)), _Call(name="dtype") as dtype, False | 0, bytes(raw)):
                kind = dtype.arguments[0] if dtype.arguments else None
                if kind in ("u1", b"u1") and width == _ROW and count > 0 and len(raw) == count * width:
                    return np.frombuffer(raw, np.uint8).reshape(count, width)
    raise SourceError(
        f"{given} holds no uint8 data of shape (N, {_ROW}): fetch CIFAR-10's python version again"
    )
