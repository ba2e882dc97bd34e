"""Ways to damage a feature file, and to forge one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pool3.store.digests import DATASETS, FINGERPRINT, Digests, fingerprint


def flip(path: Path, *places: int, mask: int = 1) -> None:
    data = bytearray(path.read_bytes())
    for place in places:
        data[place] ^= mask
    path.write_bytes(data)


def find(path: Path, needle: bytes) -> int:
    data = path.read_bytes()
    assert data.count(needle) == 1
    return data.index(needle)


def change(path: Path, edit: Callable[[h5py.File], Any], *, reseal: bool = True) -> None:
    """Edit a file; `reseal`: with digests that fit, as one who knows how would."""
    with h5py.File(path, "r+") as file:
        edit(file)
        if not reseal:
            return
        digests = Digests()
        for name in DATASETS:
            values = file[name][()]
            if name == "failures":
                for record in values.tolist():
                    digests.numbers(name, np.array(record[:1], np.int64))
                    digests.texts(name, [text.decode() for text in record[1:]])
            elif values.dtype.hasobject:
                digests.texts(name, [text.decode() for text in values])
            else:
                digests.numbers(name, values)
        file.attrs["digests"] = json.dumps(digests.to_dict(), sort_keys=True)
        file.attrs[FINGERPRINT] = fingerprint(dict(file.attrs))
