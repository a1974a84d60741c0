"""Reports of a bench: figures with intervals, plots and an HTML page from its samples."""

from dreamr.evaluation.report.aggregate import figures
from dreamr.evaluation.report.comparison import compare
from dreamr.evaluation.report.page import ReportError, load_samples, write_report
from dreamr.evaluation.report.results import Figures, Results
from dreamr.evaluation.report.statistics import Estimate, wilson

__all__ = [
    "Estimate",
    "Figures",
    "ReportError",
    "Results",
    "compare",
    "figures",
    "load_samples",
    "wilson",
    "write_report",
]
