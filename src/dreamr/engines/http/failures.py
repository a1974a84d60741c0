"""The meaning of a failure status, and of an error in the body of a response."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NoReturn

from dreamr._messages import one_line
from dreamr.engines.http.retries import TransientError, retry_after
from dreamr.errors import ContextTooLong, EngineError, EngineLost, Unsupported

_SHOWN = 300  # characters of a server's error message
_MOST_VALUES = 500  # of an error that are looked at
_UNKNOWN = 500  # status of an error that names none: worth a retry

# Client errors that may go away, and server errors that do not.
_TRANSIENT = frozenset({408, 409, 425, 429})
_BUSY = frozenset({429, 503})
_PERMANENT = frozenset({501, 505, 510, 511})

# "Too long" in the words of vLLM, SGLang, llama.cpp, TGI, LM Studio, Ollama, TensorRT-LLM and the
# large providers, whose messages proxies pass on.
_TOO_LONG = re.compile(
    r"context[ _-]?(length|window|size|limit)|context (overflow|the overflows)"
    r"|exceed\w*[ _-](the )?(model'?s? )?(context|n_ctx|max_model_len)"
    r"|(maximum|max\.?) ?(model|prompt|input|sequence|allowed)[ _-]?(length|len|tokens)"
    r"|max[ _-](model|prompt|input|seq|sequence)[ _-]len"
    r"|\b(prompt|inputs?|messages?|request|conversation)\b( \([^)]*\))?"
    r"( is| are| was)? too (long|large)"
    r"|(longer|greater|larger) than the (model'?s? )?(max\w* )?(context|model|sequence|prompt)"
    r"|\b(prompt|inputs?|messages|tokens?)\b.{0,80}\b(exceed\w*|more than)\b.{0,40}"
    r"\b(max\w*|limit|n_ctx|budget)"
    r"|model token limit|token limit exceeded|too many (input |prompt )?tokens"
    r"|`?inputs`? must have less than|`inputs` tokens"
    r"|reduce the (length|size) of|range of input length|string_above_max_length"
)
_LIMITED = re.compile(r"per[ _-]?(second|min|minute|hour|day)|rate[ _-]?limit|quota|\b[tr]p[md]\b")
_EXHAUSTED = re.compile(r"insufficient[ _]quota|billing|insufficient (balance|credits)")
_TEXT_ONLY = re.compile(
    r"multimodal|image input|mmproj|(not|n't) support (images?|vision|image_url)"
    r"|images? (is|are) not supported"
)

_MESSAGES = (
    "message", "msg", "error_message", "status_msg", "detail", "error", "errors", "reason",
    "description", "title",
)  # fmt: skip
_CODES = ("code", "status", "status_code", "statuscode", "http_status", "http_code", "error_code")
_KINDS = ("code", "type", "error_type", "status", "name", "error")
# Statuses of errors that are named by a word.
_NAMED = (
    (re.compile(r"rate.?limit|too.?many.?requests|resource.?exhausted|throttl"), 429),
    (re.compile(r"overload|unavailable|capacity"), 503),
    (re.compile(r"auth|api.?key|permission|forbidden"), 401),
    (re.compile(r"content.?(filter|policy|management)|safety|moderation"), 400),
    (re.compile(r"not.?found"), 404),
    (re.compile(r"time.?out|deadline"), 408),
    (re.compile(r"invalid|bad.?request|validation|unprocessable|unsupported"), 400),
)


def refuse(
    status: int, headers: Mapping[str, str], content: bytes, url: str, keys: str = ""
) -> NoReturn:
    """Raise the error of a refused request.

    Args:
        status: Status code of the response.
        headers: Headers of the response.
        content: Body of the response.
        url: Address, for messages.
        keys: Environment variable of the API key, for messages; empty for those of models.

    Raises:
        TransientError: If the request should be sent again.
        EngineLost: If the server denies access.
        ContextTooLong: If the prompt does not fit into the model's context.
        Unsupported: If the model accepts text only.
        EngineError: If the server refuses the request for another reason.
    """
    text = content.decode("utf-8", "replace")
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = text
    values = list(_values(parsed))
    message = _message(values) or cut(text)
    wait = retry_after(headers)
    _raise(status, f"returned status {status}", message, values, url, wait, keys)


def refuse_errors(value: object, url: str, event: str = "", hide: str = "") -> None:
    """Raise the error that a successful response or an event of a stream consists of, if any.

    Args:
        value: JSON of the response or the event, or text.
        url: Address, for messages.
        event: Name of the event.
        hide: API key, which some servers repeat in errors.

    Raises:
        TransientError: If the request should be sent again.
        EngineError: See `refuse`, also for other errors.
    """
    if not (_names_error(value) or event.lower() == "error"):
        return
    found = _error_part(value)
    values = list(_values(found))
    message = _message(values, hide) or cut(
        ", ".join(f"{name}: {one}" for name, one in values), hide
    )
    status = _status(values)
    _raise(status or _UNKNOWN, "reported an error", message, values, url, None)


def cut(text: str, hide: str = "") -> str:
    """Return the text on one line, cut to the length of an error message.

    Args:
        text: Text of a server.
        hide: API key, which some servers repeat; empty if there is none. It is not shown.
    """
    text = text.replace(hide, "***") if hide else text
    return one_line(text, _SHOWN) or "no reason given"


def _raise(
    status: int,
    what: str,
    message: str,
    values: list[tuple[str, object]],
    url: str,
    wait: float | None,
    keys: str = "",
) -> NoReturn:
    """Raise the error for a status and a message; the words of the message take precedence."""
    words = " ".join(str(value) for _, value in values if isinstance(value, str)).lower()
    words = words or message.lower()
    limited = status == 429 or _LIMITED.search(words) is not None
    if (
        status == 413
        or "context_length_exceeded" in words
        or (not limited and _TOO_LONG.search(words))
    ):
        raise ContextTooLong(f"the request is too long for the model at {url}: {message}")
    if not limited and _TEXT_ONLY.search(words):
        raise Unsupported(f"the model at {url} accepts text only: {message}")
    if status in (401, 403):
        keys = keys or "DREAMR_TARGET_API_KEY or DREAMR_DRAFT_API_KEY"
        raise EngineLost(
            f"{url} denied access (status {status}: {message}): set the API key in the "
            f"environment variable {keys}"
        )
    error = EngineError(f"{url} {what}: {message}")
    transient = status in _TRANSIENT or (status >= 500 and status not in _PERMANENT)
    if transient and not _EXHAUSTED.search(words):
        raise TransientError(error, wait, busy=limited or status in _BUSY)
    raise error


def _names_error(value: object) -> bool:
    """Check whether JSON has one of the usual forms of an error."""
    if isinstance(value, list):
        return any(isinstance(one, dict) and _says_something(one.get("error")) for one in value)
    if not isinstance(value, dict):
        return False
    if any(_says_something(value.get(name)) for name in ("error", "errors")):
        return True
    if any(value.get(name) in ("error", "failed") for name in ("object", "type", "status")):
        return True
    if value.get("choices"):
        first = value["choices"][0] if isinstance(value["choices"], list) else None
        return isinstance(first, dict) and _says_something(first.get("error"))
    answers = ("choices", "data", "models", "usage", "tokens", "prompt")  # of the routes in use
    if any(name in value for name in answers) or value.get("type") == "ping":
        return False
    named = (value.get(name) for name in ("message", "msg", "detail"))
    return any(isinstance(one, str | list) and one for one in named) or (
        _status([(name, one) for name, one in value.items() if name in _CODES]) is not None
    )


def _says_something(value: object) -> bool:
    """Check whether an error field holds more than nothing: some servers always send one."""
    if value is None:  # nearly every event
        return False
    return any(one not in (None, "", False, 0) for _, one in _values(value))


def _error_part(value: object) -> object:
    """Return the part of an event that describes the error, without the model's text."""
    if not isinstance(value, dict) or not value.get("choices"):
        return value
    found = {name: value[name] for name in value if name != "choices"}
    first = value["choices"][0] if isinstance(value["choices"], list) else None
    return {**found, "choice": first.get("error")} if isinstance(first, dict) else found


def _values(value: object) -> Iterator[tuple[str, object]]:
    """Yield the scalars of JSON with the names of their fields, the outermost first."""
    waiting = deque([("", value)])
    for _ in range(_MOST_VALUES):
        if not waiting:
            return
        name, one = waiting.popleft()
        if isinstance(one, dict):
            waiting.extend((str(key).lower(), inner) for key, inner in one.items())
        elif isinstance(one, list):
            waiting.extend((name, inner) for inner in one)
        else:
            yield name, one


def _message(values: list[tuple[str, object]], hide: str = "") -> str:
    """Return the error message among the values on one line, empty if there is none."""
    for wanted in _MESSAGES:
        for name, value in values:
            if name == wanted and isinstance(value, str) and value.strip():
                return cut(value, hide)
    unnamed = (value for name, value in values if not name and isinstance(value, str))
    return next((cut(value, hide) for value in unnamed if value.strip()), "")


def _status(values: list[tuple[str, object]]) -> int | None:
    """Return the status that an error in a body names, None if there is none."""
    for name, value in values:
        if name in _CODES and not isinstance(value, bool) and isinstance(value, int | float | str):
            text = str(value).strip().removesuffix(".0")
            if re.fullmatch(r"[45]\d\d", text):
                return int(text)
    kinds = [str(value).lower() for name, value in values if name in _KINDS]
    for pattern, status in _NAMED:
        if any(len(kind) <= 60 and pattern.search(kind) for kind in kinds):
            return status
    return None
