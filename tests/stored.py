"""What a feature file holds, to the bit."""

from pathlib import Path
from typing import Any

import h5py


def stored(path: Path) -> dict[str, tuple[Any, ...]]:
    """Dataset → its dtype, shape and bytes; text of any length as its encoded bytes."""
    with h5py.File(path) as file:
        return {name: (repr(file[name].dtype), file[name].shape, _bytes(file[name][()])) for name in file}


def _bytes(values: Any) -> Any:
    return values.tolist() if values.dtype.hasobject else values.tobytes()
