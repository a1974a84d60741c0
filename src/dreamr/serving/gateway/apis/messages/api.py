"""The API of `POST /v1/messages`."""

from __future__ import annotations

from dreamr.serving.gateway.apis.messages.errors import error_body
from dreamr.serving.gateway.apis.messages.reply import MessageReply
from dreamr.serving.gateway.apis.messages.request import read_counted, read_request
from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.protocol import Identity, Json, Sender
from dreamr.serving.gateway.apis.summary import Summary
from dreamr.serving.gateway.errors import ApiError


class MessagesApi:
    """Anthropic's messages."""

    path = "/v1/messages"
    end = b""
    keep_alive = b'event: ping\ndata: {"type":"ping"}\n\n'

    def read(self, body: bytes | bytearray, sender: Sender) -> ParsedRequest:
        """Parse and check the body of a request.

        Args:
            body: JSON text.
            sender: What is known about the request.

        Raises:
            ApiError: If the body is invalid, too large, or asks for something unsupported.
        """
        return read_request(body, sender)

    def reply(self, parsed: ParsedRequest, summary: Summary, identity: Identity) -> MessageReply:
        """Return the builder of the response.

        Args:
            parsed: The request.
            summary: Describes the run.
            identity: Name and time of the response.
        """
        return MessageReply(f"msg_{identity.name}", parsed, summary)

    def error(self, error: ApiError) -> Json:
        """Return the body of an error response."""
        return error_body(error)


class TokenCountApi(MessagesApi):
    """Anthropic's count of the tokens of a request."""

    path = "/v1/messages/count_tokens"

    def read(self, body: bytes | bytearray, sender: Sender) -> ParsedRequest:
        """Parse and check the body of a request.

        Args:
            body: JSON text.
            sender: What is known about the request.

        Raises:
            ApiError: If the body is invalid, too large, or asks for something unsupported.
        """
        return read_counted(body, sender)
