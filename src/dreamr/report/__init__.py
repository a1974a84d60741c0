"""From the samples of a bench to figures, plots and a page."""

from dreamr.report._compare import compare
from dreamr.report._figures import Figures, Results, figures
from dreamr.report._page import ReportError, load_samples, write_report
from dreamr.report._statistics import Estimate, wilson

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
