"""pool3 inside scikit-learn: images as a step of a pipeline."""

from pool3.sklearn.transformer import ImageFeatures

__all__ = ["ImageFeatures"]
