"""The API of `POST /v1/chat/completions`."""

from __future__ import annotations

from typing import Any

from dreamr.serving.gateway.apis.chat.reply import ChatReply
from dreamr.serving.gateway.apis.chat.request import read_request
from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.protocol import Identity, Sender
from dreamr.serving.gateway.apis.summary import Summary
from dreamr.serving.gateway.errors import ApiError


class ChatApi:
    """OpenAI's chat completions."""

    path = "/v1/chat/completions"
    end = b"data: [DONE]\n\n"
    keep_alive = b": keep-alive\n\n"

    def read(self, body: bytes | bytearray, sender: Sender) -> ParsedRequest:
        """Parse and check the body of a request.

        Args:
            body: JSON text.
            sender: What is known about the request.

        Raises:
            ApiError: If the body is invalid, too large, or asks for something unsupported.
        """
        return read_request(body, sender)

    def reply(self, parsed: ParsedRequest, summary: Summary, identity: Identity) -> ChatReply:
        """Return the builder of the response.

        Args:
            parsed: The request.
            summary: Describes the run.
            identity: Name and time of the response.
        """
        return ChatReply(f"chatcmpl-{identity.name}", identity.created, parsed, summary)

    def error(self, error: ApiError) -> dict[str, Any]:
        """Return the body of an error response."""
        return error.body
