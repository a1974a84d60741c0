"""Anthropic's messages."""

from dreamr.serving.gateway.apis.messages.api import MessagesApi, TokenCountApi

__all__ = ["MessagesApi", "TokenCountApi"]
