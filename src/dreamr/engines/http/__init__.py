"""Engine for models on OpenAI-compatible servers."""

from dreamr.engines.http.engine import HttpEngine
from dreamr.engines.http.options import HttpOptions

__all__ = ["HttpEngine", "HttpOptions"]
