"""The meaning of a failure status, and of an error in a response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NoReturn

from dreamr._messages import one_line
from dreamr.engines.http.responses import Json
from dreamr.engines.http.retries import TransientError, retry_after
from dreamr.errors import ContextTooLong, EngineError, EngineLost, Unsupported

_TOO_LONG = ("context length", "maximum model length", "context size")
_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})  # worth a retry
_SHOWN = 300  # characters of a server's error message


def refuse(status: int, headers: Mapping[str, str], content: bytes, url: str) -> NoReturn:
    """Raise the error of a refused request.

    Args:
        status: Status code of the response.
        headers: Headers of the response.
        content: Body of the response.
        url: Address, for messages.

    Raises:
        TransientError: If the request should be sent again.
        EngineLost: If the server denies access.
        ContextTooLong: If the prompt does not fit into the model's context.
        Unsupported: If the model accepts text only.
        EngineError: If the server refuses the request for another reason.
    """
    message = error_message(content)
    if status in (401, 403):
        raise EngineLost(
            f"{url} denied access (status {status}: {message}): set the API key in the "
            "environment variable DREAMR_TARGET_API_KEY or DREAMR_DRAFT_API_KEY"
        )
    if status in _TRANSIENT:
        raise TransientError(
            EngineError(f"{url} returned status {status}: {message}"), retry_after(headers)
        )
    low = message.lower()
    if any(words in low for words in _TOO_LONG):
        raise ContextTooLong(message)
    if "multimodal" in low or "image input" in low or "is not a multimodal model" in low:
        raise Unsupported(f"the model at {url} accepts text only: {message}")
    raise EngineError(f"{url} returned status {status}: {message}")


def error_message(content: bytes) -> str:
    """Extract the error message from a response, on one line."""
    text = content.decode("utf-8", "replace")
    try:
        parsed = json.loads(text)
    except ValueError:
        return cut(text)
    for name in ("error", "message", "detail"):
        while isinstance(parsed, dict) and name in parsed:
            parsed = parsed[name]
    return cut(parsed if isinstance(parsed, str) else json.dumps(parsed))


def code(parsed: Json) -> int:
    """Return the status of an error event in a stream."""
    error = parsed.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) else 500


def cut(text: str) -> str:
    """Return the text on one line, cut to the length of an error message."""
    return one_line(text, _SHOWN) or "no reason given"
