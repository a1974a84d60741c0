"""Models run by transformers, each in a worker process. Importing this loads no torch."""

from dreamr.engines.local._engine import LocalEngine
from dreamr.engines.local._options import JUDGE_QUESTION, Hints, LocalOptions

__all__ = ["JUDGE_QUESTION", "Hints", "LocalEngine", "LocalOptions"]
