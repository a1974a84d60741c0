"""Models behind OpenAI-compatible servers."""

from dreamr.engines.http._engine import HttpEngine
from dreamr.engines.http._options import HttpOptions

__all__ = ["HttpEngine", "HttpOptions"]
