"""Errors as clients of OpenAI's API know them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dreamr._option_specs import BadOption
from dreamr.errors import (
    ContextTooLong,
    ConversationError,
    DreamrError,
    EngineLost,
    RunFailed,
    Unsupported,
)

INVALID = "invalid_request_error"
SERVER = "server_error"


@dataclass
class ApiError(DreamrError):
    """What a request gets in the place of an answer.

    param: the field that is to blame. code: for programs. more: further members of the body.
    """

    status: int
    message: str
    kind: str = INVALID
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's form."""
        error = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error, **self.more}


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """The client has to change something."""
    return ApiError(400, message, INVALID, param, code)


def timed_out(seconds: float) -> ApiError:
    """The deadline has passed."""
    message = f"no answer within {seconds:g} s: ask for less, or allow more time"
    return ApiError(504, message, SERVER, code="deadline_exceeded")


def api_error(error: Exception) -> ApiError:
    """The same error as clients know it. What nobody expected says no more than that."""
    match error:
        case ApiError():
            return error
        case ContextTooLong():
            return bad_request(str(error), "messages", "context_length_exceeded")
        case ConversationError():
            return bad_request(str(error), "messages")
        case BadOption() | Unsupported():
            return bad_request(str(error))
        case EngineLost():
            return ApiError(503, str(error), SERVER, code="engine_lost")
        case RunFailed() | DreamrError():
            return ApiError(502, str(error), SERVER, code="engine_failed")
        case _:
            return ApiError(500, "internal error; the server's log says more", SERVER)
