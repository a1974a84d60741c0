from __future__ import annotations

from typing import Any

import pytest

from dreamr.engines.http.fields import Field
from dreamr.engines.http.finish_reasons import read_finish
from dreamr.engines.http.retries import TransientError
from dreamr.errors import EngineError


def read(value: Any) -> str | None:
    return read_finish(Field({"finish_reason": value}, "http://here").get("finish_reason"))


@pytest.mark.parametrize(
    "value", [None, "", " ", "null", "None", False, "FINISH_REASON_UNSPECIFIED", {}]
)
def test_an_empty_reason_is_not_an_end(value: Any) -> None:
    assert read(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE", "end", "done",
        "finished", "tool_calls", "function_call", "FINISH_REASON_STOP", "something else",
        {"type": "stop", "matched": 2}, "max-effort",
    ],
)  # fmt: skip
def test_an_unknown_reason_is_an_end(value: Any) -> None:
    assert read(value) == "stop"


@pytest.mark.parametrize(
    "value",
    [
        "length", "LENGTH", "max_tokens", "MAX_TOKENS", "max-output-tokens", "max_new_tokens",
        "model_length", "model_context_window_exceeded", "ERROR_LIMIT", "incomplete", "token_limit",
        "FINISH_REASON_MAX_TOKENS", {"type": "length", "length": 16},
    ],
)  # fmt: skip
def test_a_limit_is_recognized_in_every_spelling(value: Any) -> None:
    assert read(value) == "length"


@pytest.mark.parametrize(
    "value",
    [
        "error", "ERROR", "error: worker died", "abort", "aborted", {"type": "abort"}, "cancelled",
        "canceled", "insufficient_system_resource", "network_error", "timeout", "ERROR_TOXIC",
    ],
)  # fmt: skip
def test_a_failure_is_sent_again(value: Any) -> None:
    with pytest.raises(TransientError, match="http://here ended the response early"):
        read(value)


@pytest.mark.parametrize(
    "value", ["content_filter", "content-filter", "SAFETY", "RECITATION", "sensitive", "refusal"]
)
def test_a_content_filter_is_named(value: str) -> None:
    with pytest.raises(EngineError, match=f"content filter of http://here .*: {value}"):
        read(value)


@pytest.mark.parametrize("value", [True, 5, [], [1], {"type": 5}])
def test_a_reason_that_is_not_text_is_an_error(value: Any) -> None:
    with pytest.raises(EngineError, match="sent finish_reason"):
        read(value)
