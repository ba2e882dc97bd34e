"""Files that are written for other programs: whole or not at all, and never over what nobody gave up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pool3.errors import OutputExistsError, StoreError
from pool3.store.disk import TEMPORARY


def check_output(output: Path, *inputs: Path, overwrite: bool) -> None:
    """Refuse an output that is one of the inputs, a folder, or there already.

    Raises:
        OutputExistsError: it exists and is not to be replaced, or is an input.
        StoreError: it is a folder.
    """
    if output.is_dir():
        raise StoreError(f"{output} is a folder; name a file to write")
    # Under another name too, or as the name that the output has while it is written.
    for place in (output, output.with_name(output.name + TEMPORARY)):
        for path in inputs:
            if place.exists() and path.exists() and place.samefile(path):
                raise OutputExistsError(f"{place} is the feature file {path} itself; name another output")
    if output.exists() and not overwrite:
        raise OutputExistsError(
            f"{output} exists, so it was left alone; name another output, or --overwrite to replace it"
        )


@contextmanager
def writing(output: Path) -> Iterator[None]:
    """Turn what the disk refuses into an error that says so; what is read raises its own."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise StoreError(
            f"{output} cannot be written ({error.strerror or error}{where}); mend this or name another output: "
            "nothing was left behind"
        ) from error
