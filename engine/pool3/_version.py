"""The one place that holds pool3's version."""

__version__ = "0.1.0"
