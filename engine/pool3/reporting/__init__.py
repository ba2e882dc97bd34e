"""One page of evidence from feature files: the run, a classifier, its mistakes, examples, a map, failures."""

from pool3.reporting.result import ReportResult
from pool3.reporting.running import report

__all__ = ["ReportResult", "report"]
