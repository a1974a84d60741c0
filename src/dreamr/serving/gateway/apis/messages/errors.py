"""Errors in the format of Anthropic's API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.gateway.request_ids import request_id

_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def error_body(error: ApiError) -> dict[str, Any]:
    """Return the body of an error response.

    Args:
        error: The error.
    """
    usual = "invalid_request_error" if error.status < 500 else "api_error"
    found = {"type": _TYPES.get(error.status, usual), "message": error.message}
    return {"type": "error", "error": found, "request_id": request_id(), **error.more}
