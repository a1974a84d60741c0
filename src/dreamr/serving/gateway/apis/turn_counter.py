"""Limits on the messages of a request."""

from __future__ import annotations

from collections.abc import Iterable

from dreamr.serving.gateway.content_parts import MessagePart, SentMedia, too_many
from dreamr.serving.gateway.errors import bad_request
from dreamr.serving.options import ServeOptions


class TurnCounter:
    """Counts the parts, attachments and characters of the messages of one request.

    Args:
        limits: Limits of the gateway.
        param: Field of the request that holds the messages.

    Attributes:
        left: Parts that the request may still have.
    """

    def __init__(self, limits: ServeOptions, param: str = "messages") -> None:
        self._limits, self._param = limits, param
        self.left = limits.max_parts
        self._attachments = self._characters = 0

    def count(self, content: Iterable[MessagePart]) -> tuple[MessagePart, ...]:
        """Count the parts of one message, and return them.

        Raises:
            ApiError: If the request has too many of anything (400).
        """
        limits, parts = self._limits, tuple(content)
        self.left -= max(1, len(parts))
        if self.left < 0:
            raise too_many(self._param)
        self._attachments += sum(isinstance(part, SentMedia) for part in parts)
        if self._attachments > limits.max_images:
            raise bad_request(
                f"the request has more than {limits.max_images} images and other files: send "
                "fewer, or raise --max-images of the gateway",
                self._param,
            )
        self._characters += sum(len(part) for part in parts if isinstance(part, str))
        if self._characters > limits.max_text:
            raise bad_request(
                f"the request has more than {limits.max_text:,} characters of text: send less, or "
                "raise --max-text of the gateway",
                self._param,
                "context_length_exceeded",
            )
        return parts
