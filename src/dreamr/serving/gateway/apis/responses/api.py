"""The API of `POST /v1/responses`."""

from __future__ import annotations

from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.protocol import Identity, Json, Sender
from dreamr.serving.gateway.apis.responses.reply import ResponseReply
from dreamr.serving.gateway.apis.responses.request import read_request
from dreamr.serving.gateway.apis.summary import Summary
from dreamr.serving.gateway.errors import ApiError

PREFIX = "resp_"  # of ids


class ResponsesApi:
    """OpenAI's responses."""

    path = "/v1/responses"
    end = b""
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

    def reply(self, parsed: ParsedRequest, summary: Summary, identity: Identity) -> ResponseReply:
        """Return the builder of the response.

        Args:
            parsed: The request.
            summary: Describes the run.
            identity: Name and time of the response.
        """
        return ResponseReply(f"{PREFIX}{identity.name}", identity.created, parsed, summary)

    def error(self, error: ApiError) -> Json:
        """Return the body of an error response."""
        return error.body
