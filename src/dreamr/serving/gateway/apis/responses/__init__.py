"""OpenAI's responses."""

from dreamr.serving.gateway.apis.responses.api import PREFIX, ResponsesApi
from dreamr.serving.gateway.apis.responses.reply import ResponseReply
from dreamr.serving.gateway.apis.responses.request import previous_response
from dreamr.serving.gateway.apis.responses.store import ResponseStore, StoredResponse

__all__ = [
    "PREFIX",
    "ResponseReply",
    "ResponseStore",
    "ResponsesApi",
    "StoredResponse",
    "previous_response",
]
