"""Window, fallback and resamples that follow what earlier runs showed."""

from dreamr.serving.tuning.tuner import SETTINGS, Setting, Shown, Tuner, kind_of

__all__ = ["SETTINGS", "Setting", "Shown", "Tuner", "kind_of"]
