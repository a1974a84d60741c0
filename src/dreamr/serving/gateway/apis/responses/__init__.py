"""OpenAI's responses."""

from dreamr.serving.gateway.apis.responses.api import ResponsesApi
from dreamr.serving.gateway.apis.responses.store import ResponseStore

__all__ = ["ResponseStore", "ResponsesApi"]
