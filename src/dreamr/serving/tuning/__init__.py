"""Window, fallback and resamples that follow what earlier runs showed."""

from dreamr.serving.tuning.tuner import SETTINGS, RunSummary, Setting, Tuner, kind_of

__all__ = ["SETTINGS", "RunSummary", "Setting", "Tuner", "kind_of"]
