"""Maps of feature files in the plane: t-SNE, UMAP and PCA, with how far they can be trusted."""

from pool3.projection.backends import BACKENDS, choose
from pool3.projection.methods import METHODS, Settings, settings
from pool3.projection.quality import Quality, measure
from pool3.projection.result import ProjectResult
from pool3.projection.running import project

__all__ = [
    "BACKENDS",
    "METHODS",
    "ProjectResult",
    "Quality",
    "Settings",
    "choose",
    "measure",
    "project",
    "settings",
]
