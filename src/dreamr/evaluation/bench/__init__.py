"""Run several methods on the same problems, with the same two engines, and store the samples."""

from dreamr.evaluation.bench.folder import (
    CONFIG,
    PROVENANCE,
    SAMPLES,
    BenchError,
    Folder,
    read_config,
    read_samples,
    read_sessions,
)
from dreamr.evaluation.bench.models import Models
from dreamr.evaluation.bench.options import SET_BY_BENCH, BenchOptions
from dreamr.evaluation.bench.plan import Plan, schedule_options
from dreamr.evaluation.bench.presets import PRESETS, STANDARD
from dreamr.evaluation.bench.run import Progress, run_bench
from dreamr.evaluation.bench.sample import MEDIA, Sample, Span
from dreamr.evaluation.bench.trained import check_trained

__all__ = [
    "CONFIG",
    "MEDIA",
    "PRESETS",
    "PROVENANCE",
    "SAMPLES",
    "SET_BY_BENCH",
    "STANDARD",
    "BenchError",
    "BenchOptions",
    "Folder",
    "Models",
    "Plan",
    "Progress",
    "Sample",
    "Span",
    "check_trained",
    "read_config",
    "read_samples",
    "read_sessions",
    "run_bench",
    "schedule_options",
]
