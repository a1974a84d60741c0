"""Models run by transformers, each in a worker process. Importing this loads no torch."""

from dreamr.engines.local.engine import LocalEngine
from dreamr.engines.local.options import Hints, LocalOptions

__all__ = ["Hints", "LocalEngine", "LocalOptions"]
