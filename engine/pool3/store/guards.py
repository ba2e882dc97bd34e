"""What a writer must be sure of before it touches anything, and how it says what the disk refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pool3.errors import OutputExistsError, StoreError
from pool3.store.disk import free_bytes, in_units

_HDF5 = b"\x89HDF\r\n\x1a\n"
"""How every HDF5 file begins."""


def check_replaceable(path: Path) -> None:
    """Raise unless `path` is free or an HDF5 file: no slip of the keyboard may cost an image."""
    try:
        with path.open("rb") as file:
            found = file.read(len(_HDF5))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}); name another output") from error
    if found != _HDF5:
        raise OutputExistsError(f"{path} is no feature file, so it was left alone; name another output")


def refuse_other(path: Path, done: str, found: list[str]) -> None:
    """Raise where settings differ, naming each; `done` says what was done with the old ones."""
    if found:
        raise OutputExistsError(
            f"{path} was {done} with other settings ({'; '.join(found)}), so it was left alone; "
            "name another output, or --overwrite to discard it"
        )


def check_space(path: Path, *, shards: int, sealed: int) -> None:
    """Raise unless the disk has room for so many bytes of shards, and then for the file that they become."""
    needed, free = shards + sealed, free_bytes(path.parent)
    if needed > free:
        raise StoreError(
            f"{path} needs about {in_units(needed)} while it is written ({in_units(shards)} of shards still to come, "
            f"then {in_units(sealed)} of feature file), and {path.parent} has {in_units(free)} left; "
            "make room, or write to another disk"
        )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into an error that says so."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error.strerror or error}); "
            "mend this and run again: nothing that was committed is lost"
        ) from error
