"""Every error that pool3 raises on purpose.

All derive from `Pool3Error`, so that one ``except`` catches them; each also derives from the built-in exception
that fits, so that code that knows nothing of pool3 still handles them as it would expect. A message says what
happened, with which input, and what to do about it, in one sentence.
"""

from typing import ClassVar


class Pool3Error(Exception):
    """Base of all errors that pool3 raises on purpose.

    Attributes:
        exit_code: what the command line exits with.
    """

    exit_code: ClassVar[int] = 1


class SpecError(Pool3Error, ValueError):
    """A setting of a run is not one that pool3 knows, or two settings contradict each other."""


class DeviceError(Pool3Error, RuntimeError):
    """A device was asked for that TensorFlow cannot use."""


class ExtractionError(Pool3Error, RuntimeError):
    """TensorFlow failed while it decoded or computed, for a reason that no single image is to blame for."""


class DeviceMemoryError(ExtractionError, MemoryError):
    """A batch does not fit into a device's memory."""


class TooManyFailuresError(Pool3Error, RuntimeError):
    """More images failed than ``--max-failures`` allows; what was computed is committed."""

    exit_code = 3


class SourceError(Pool3Error, ValueError):
    """A source of images cannot be read at all (a single bad image is a recorded failure, not this error)."""


class SourceNotFoundError(SourceError, FileNotFoundError):
    """A source of images does not exist, or holds no image."""


class WeightsError(Pool3Error, ValueError):
    """A weights file is not what it should be: wrong format, missing tensor, wrong shape, unsafe pickle."""


class WeightsNotFoundError(WeightsError, FileNotFoundError):
    """Weights are neither at the given path nor in the cache, and could not be fetched."""


class HashMismatchError(Pool3Error, ValueError):
    """A file's bytes are not the ones that were published under its name."""


class DownloadError(Pool3Error, OSError):
    """A download failed, or was needed in offline mode."""


class StoreError(Pool3Error, ValueError):
    """A feature file is damaged, of another schema, or would not account for every input."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """There is no feature file at the given path."""


class OutputExistsError(StoreError, FileExistsError):
    """The output exists and was made with other settings; nothing was touched."""


class OutputBusyError(StoreError, BlockingIOError):
    """Another process is writing the output."""


class EvaluationError(Pool3Error, ValueError):
    """Features cannot be evaluated as asked: no labels, a single class, widths that differ."""


class MissingLibraryError(Pool3Error, ImportError):
    """A library that pool3 uses but does not install by itself is not there."""
