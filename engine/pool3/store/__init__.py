"""The feature store: rows committed range by range, sealed into one HDF5 file, read back, merged, and exported.

Writing: `FeatureWriter`. Reading: `open_features`. Merging: `merge_features`. Exporting: `export_features`.
Nothing here knows a network.
"""

from pool3.store.export import ExportResult, export_features
from pool3.store.info import existing, info, progress, recorded
from pool3.store.merge import MergeResult, merge_features
from pool3.store.reader import FeatureFile, Features, open_features
from pool3.store.rows import Failure, Rows, as_stored
from pool3.store.schema import IDENTITY, SCHEMA, Provenance, differences
from pool3.store.table import Selection
from pool3.store.timing import Timing
from pool3.store.writer import FeatureWriter

__all__ = [
    "IDENTITY",
    "SCHEMA",
    "ExportResult",
    "Failure",
    "FeatureFile",
    "FeatureWriter",
    "Features",
    "MergeResult",
    "Provenance",
    "Rows",
    "Selection",
    "Timing",
    "as_stored",
    "differences",
    "existing",
    "export_features",
    "info",
    "merge_features",
    "open_features",
    "progress",
    "recorded",
]
