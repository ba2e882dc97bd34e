"""Hashes of files, and the comparison with what was published."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pool3.errors import HashMismatchError
from pool3.weights.registry import KnownFile

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class FileHashes:
    """Size in bytes, and hexadecimal hashes, of one file."""

    size: int
    sha256: str
    md5: str


def file_hashes(path: Path) -> FileHashes:
    """Hash a file in one pass.

    Raises:
        OSError: it cannot be read.
    """
    sha256 = hashlib.sha256()
    md5 = hashlib.md5(usedforsecurity=False)
    size = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            md5.update(block)
            size += len(block)
    return FileHashes(size, sha256.hexdigest(), md5.hexdigest())


def matches(hashes: FileHashes, known: KnownFile) -> bool:
    """Tell whether size and published hash are those of a known file."""
    found = hashes.md5 if known.algorithm == "md5" else hashes.sha256
    return hashes.size == known.size and found == known.digest


def verify_file(path: Path, known: KnownFile, advice: str) -> FileHashes:
    """Check a file's size and hash against the published ones (MD5 where nothing better was published).

    Args:
        path: of the file.
        known: the record with the published size and hash.
        advice: what to do if they differ, as the end of a sentence.

    Raises:
        HashMismatchError: they differ; the message holds both.
        OSError: the file cannot be read.
    """
    hashes = file_hashes(path)
    if not matches(hashes, known):
        found = hashes.md5 if known.algorithm == "md5" else hashes.sha256
        raise HashMismatchError(
            f"{path} is not the published {known.filename}: "
            f"{known.algorithm} {found} and {hashes.size} bytes, "
            f"where {known.algorithm} {known.digest} and {known.size} bytes were published; {advice}."
        )
    return hashes
