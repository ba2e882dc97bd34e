"""The feature store: rows committed range by range, sealed into one HDF5 file, and read back.

Writing: `FeatureWriter`. Reading: `open_features`. Nothing here knows a network.
"""

from pool3.store.info import existing, info
from pool3.store.reader import FeatureFile, Features, open_features
from pool3.store.rows import Failure, Rows
from pool3.store.schema import IDENTITY, SCHEMA, Provenance, differences
from pool3.store.writer import FeatureWriter

__all__ = [
    "IDENTITY",
    "SCHEMA",
    "Failure",
    "FeatureFile",
    "FeatureWriter",
    "Features",
    "Provenance",
    "Rows",
    "differences",
    "existing",
    "info",
    "open_features",
]
