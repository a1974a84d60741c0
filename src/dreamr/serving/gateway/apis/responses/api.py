"""The API of `POST /v1/responses`."""

from __future__ import annotations

import time
from uuid import uuid4

from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.protocol import Json, Sender
from dreamr.serving.gateway.apis.responses.reply import ResponseReply
from dreamr.serving.gateway.apis.responses.request import read_request
from dreamr.serving.gateway.apis.summary import Summary
from dreamr.serving.gateway.errors import ApiError


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

    def reply(self, parsed: ParsedRequest, summary: Summary) -> ResponseReply:
        """Return the builder of the response.

        Args:
            parsed: The request.
            summary: Describes the run.
        """
        name = f"resp_{uuid4().hex}"
        return ResponseReply(name, int(time.time()), parsed, summary)

    def error(self, error: ApiError) -> Json:
        """Return the body of an error response."""
        return error.body
