"""Errors in the format of OpenAI's API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
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
_SHOWN = 80  # characters of a value in a message
_RETRY = 5  # seconds until a lost store is tried again


@dataclass
class ApiError(DreamrError):
    """Error response to a request.

    Attributes:
        status: HTTP status.
        message: Message for people.
        kind: Error type of OpenAI's API.
        param: Field of the request that caused the error.
        code: Stable code for programs.
        headers: Additional HTTP headers.
        more: Additional members of the response body.
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
        """Response body in OpenAI's format."""
        error = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error, **self.more}


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """Return a 400 error: the client must change its request."""
    return ApiError(400, message, INVALID, param, code)


def no_such_model(name: object, served: Sequence[str]) -> ApiError:
    """Return a 404 error: the gateway serves other models.

    Args:
        name: What the client sent as the name.
        served: Names of the served models.
    """
    known = ", ".join(map(shortened, served))
    message = f"there is no model {shortened(name)}; this gateway serves {known}"
    return ApiError(404, message, param="model", code="model_not_found")


def shortened(value: object) -> str:
    """Format a value of a request as JSON, cut to 80 characters."""
    # Lone surrogates cannot be sent back.
    text = json.dumps(_cut(value), ensure_ascii=False).encode("utf-8", "replace").decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _cut(value: Any) -> Any:
    """Leave out what would not be shown anyway, since values can be megabytes long."""
    match value:
        case str():
            return value[:_SHOWN]
        case list():
            return [_cut(item) for item in value[:_SHOWN]]
        case dict():
            return {name[:_SHOWN]: _cut(item) for name, item in islice(value.items(), _SHOWN)}
        case _:
            return value


def shortened_name(name: str) -> str:
    """Return the name of a field, cut to 80 characters."""
    return shortened(name)[1:-1] if len(name) > _SHOWN else name


def timed_out(seconds: float, more: Mapping[str, Any] | None = None) -> ApiError:
    """Return a 504 error: the deadline has passed.

    Args:
        seconds: The deadline.
        more: Additional members of the response body.
    """
    message = f"no answer within {seconds:g} s: lower max_tokens or set a longer deadline"
    return ApiError(504, message, SERVER, code="deadline_exceeded", more=more or {})


def store_lost(what: str, param: str | None = None) -> ApiError:
    """Return a 503 error: the store that replicas share is lost, and may have what is asked for.

    Args:
        what: What a client asked for.
        param: Field of the request that names it.
    """
    message = f"cannot look for {what} at present: retry in {_RETRY} s"
    headers = {"Retry-After": str(_RETRY)}
    return ApiError(503, message, SERVER, param, "store_lost", headers)


def api_error(error: Exception) -> ApiError:
    """Convert an error to a response. Unexpected errors reveal no details to clients."""
    match error:
        case ApiError():
            return error
        case ContextTooLong():
            return bad_request(str(error), "messages", "context_length_exceeded")
        case ConversationError():
            return bad_request(str(error), "messages")
        case BadOption() | Unsupported():
            return bad_request(str(error))
        case EngineLost(retry_after=seconds):
            headers = {} if seconds is None else {"Retry-After": f"{seconds:.0f}"}
            return ApiError(503, str(error), SERVER, code="engine_lost", headers=headers)
        case RunFailed() | DreamrError():
            return ApiError(502, str(error), SERVER, code="engine_failed")
        case _:
            return ApiError(500, "internal error; see the server's log", SERVER)
