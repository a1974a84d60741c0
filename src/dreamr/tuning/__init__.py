"""Window, hedge and retries that follow what earlier runs showed."""

from dreamr.tuning._tuner import SETTINGS, Setting, Shown, Tuner, kind_of

__all__ = ["SETTINGS", "Setting", "Shown", "Tuner", "kind_of"]
