"""Classifiers on feature files: the blog's evidence that features are good, and its neighbours."""

from pool3.classify.backends import BACKENDS, Choice, make_model
from pool3.classify.models import KERNELS, MODELS, Settings, settings
from pool3.classify.predicting import PredictResult, predict
from pool3.classify.result import ClassifyResult, ClassScore, Grid, GridPoint
from pool3.classify.running import classify

__all__ = [
    "BACKENDS",
    "KERNELS",
    "MODELS",
    "Choice",
    "ClassScore",
    "ClassifyResult",
    "Grid",
    "GridPoint",
    "PredictResult",
    "Settings",
    "classify",
    "make_model",
    "predict",
    "settings",
]
