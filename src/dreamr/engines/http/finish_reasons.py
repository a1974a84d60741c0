"""The meaning of a finish reason, in the words of several vendors."""

from __future__ import annotations

import re

from dreamr.engines.http.fields import Field
from dreamr.engines.http.retries import TransientError
from dreamr.errors import EngineError
from dreamr.steps import Finish

_NONE = frozenset({"", "null", "none", "unspecified", "unknown", "in_progress", "not_finished"})
_LENGTH = re.compile(
    r"length|max_(\w+_)?tokens|token_limit|context_window|truncated|incomplete|^limit$|error_limit"
    r"|out_of_tokens|too_long"
)
_FILTERED = re.compile(
    r"filter|safety|sensitive|recitation|block|prohibited|spii|refusal|guardrail|moderation"
    r"|violation|^language$"
)
# Failures that may go away if the request is sent again.
_FAILED = re.compile(
    r"^(error|fail|abort)|_error$|cancel|interrupt|preempt|shutdown|time(d_)?_?out|overload"
    r"|insufficient|rate_limit"
)


def read_finish(reason: Field) -> Finish | None:
    """Return how a response ended, None if it has not ended.

    Only reasons that name a failure are failures; an unknown reason is an end.

    Raises:
        TransientError: If the server failed and the request should be sent again.
        EngineError: If a content filter ended the response, or if the reason is not text.
    """
    if reason.value is None:
        return None
    if isinstance(reason.value, dict):  # SGLang's own API: {"type": "length", "length": 16}
        reason = reason.get("type", "reason")
    if reason.value is False:
        return None
    said = reason.text().strip()
    name = re.sub(r"[- ]", "_", said.lower()).removeprefix("finish_reason_")
    if name in _NONE:
        return None
    if _LENGTH.search(name):
        return "length"
    if _FILTERED.search(name):
        raise EngineError(f"a content filter of {reason.url} ended the response: {said[:80]}")
    if _FAILED.search(name):
        raise TransientError(EngineError(f"{reason.url} ended the response early: {said[:80]}"))
    return "stop"
