"""Choice of window, fallback and resamples by the latency of earlier runs."""

from dreamr.serving.tuning.tuner import SETTINGS, RunSummary, Setting, Tuner, kind_of

__all__ = ["SETTINGS", "RunSummary", "Setting", "Tuner", "kind_of"]
