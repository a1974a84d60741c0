"""Many methods on the same problems over the same two engines, and what comes of it."""

from dreamr.bench._folder import CONFIG, PROVENANCE, SAMPLES, BenchError, Folder
from dreamr.bench._methods import PRESETS, STANDARD
from dreamr.bench._models import Models
from dreamr.bench._plan import Plan
from dreamr.bench._run import Progress, run_bench
from dreamr.bench._sample import Sample, Span

__all__ = [
    "CONFIG",
    "PRESETS",
    "PROVENANCE",
    "SAMPLES",
    "STANDARD",
    "BenchError",
    "Folder",
    "Models",
    "Plan",
    "Progress",
    "Sample",
    "Span",
    "run_bench",
]
