"""OpenAI's chat completions."""

from dreamr.serving.gateway.apis.chat.api import ChatApi

__all__ = ["ChatApi"]
