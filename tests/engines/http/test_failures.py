from __future__ import annotations

import json
from typing import Any

import pytest

from dreamr.engines.http.failures import refuse, refuse_errors
from dreamr.engines.http.retries import TransientError
from dreamr.errors import ContextTooLong, EngineError, EngineLost, Unsupported

URL = "http://here/v1/chat/completions"

# What servers say to a prompt that is too long.
TOO_LONG = [
    # vLLM
    "This model's maximum context length is 4096 tokens. However, you requested 4608 tokens (4096 "
    "in the messages, 512 in the completion). Please reduce the length of the messages.",
    "The decoder prompt (length 5000) is longer than the maximum model length of 4096. Make sure "
    "that `max_model_len` is no smaller than the number of text tokens plus multimodal tokens.",
    "Input prompt (5000 tokens) is too long and exceeds limit of 4096",
    "The prompt (total length 25938) is too long to fit into the model (context length 4096).",
    # SGLang
    "The input (85050 tokens) is longer than the model's context length (32768 tokens).",
    "Requested token count exceeds the model's maximum context length of 4096 tokens.",
    "Input length (9000 tokens) exceeds the maximum allowed length (4091 tokens).",
    # llama.cpp
    "the request exceeds the available context size, try increasing it",
    "request (9999 tokens) exceeds the available context size (4096 tokens), try increasing it",
    "input is too large to process. increase the physical batch size",
    # TGI
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 9000",
    "`inputs` must have less than 1024 tokens. Given: 2000",
    # LM Studio, Ollama, TensorRT-LLM
    "Trying to keep the first 6000 tokens when context the overflows. However, the model is loaded "
    "with context length of only 4096 tokens, which is not enough.",
    "The number of tokens to keep from the initial prompt is greater than the context length",
    "the input length exceeds the context length",
    "prompt too long; exceeded max context length by 12 tokens",
    "Prompt length (5000) exceeds max_input_len (4096)",
    # providers, whose messages proxies pass on
    "prompt is too long: 219898 tokens > 200000 maximum",
    "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "Input is too long for requested model.",
    "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    "Please reduce the length of the messages or completion.",
    "prompt token count of 9000 exceeds the limit of 8192",
    "Your request exceeded model token limit: 131072 (requested: 150000)",
    "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
    "too many tokens: total number of tokens in the prompt cannot exceed 4081",
    "Range of input length should be [1, 30720]",
]
NOT_TOO_LONG = [
    (400, "max_tokens must be at least 1", EngineError),
    (400, "max_tokens (5000) exceeds the limit of 4096", EngineError),
    (400, "temperature exceeds the maximum of 2", EngineError),
    (400, "At most 1 image(s) may be provided in one prompt.", EngineError),
    (404, "The model `x` does not exist.", EngineError),
    (429, "Rate limit reached: the limit is 30000 tokens per min, requested 40000", TransientError),
    (429, "You exceeded your current quota of input tokens per day: limit 100", TransientError),
    (503, "too many requests in the queue", TransientError),
]


def raised(work: Any, *arguments: Any) -> Exception:
    with pytest.raises((EngineError, Unsupported, TransientError)) as caught:
        work(*arguments)
    return caught.value


def refused(status: int, body: Any) -> Exception:
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return raised(refuse, status, {}, content, URL)


@pytest.mark.parametrize("message", TOO_LONG)
@pytest.mark.parametrize("status", [400, 413, 422, 500, 503])
def test_too_long_is_recognized_in_the_words_of_every_server(message: str, status: int) -> None:
    for body in (
        {"error": {"message": message, "type": "invalid_request_error", "code": status}},
        {"object": "error", "message": message, "code": status},
        {"error": message, "error_type": "validation"},
        {"type": "error", "error": {"type": "invalid_request_error", "message": message}},
        {"detail": [{"loc": ["body"], "msg": message}]},
        message,
    ):
        error = refused(status, body)
        assert type(error) is ContextTooLong
        assert message[:200] in str(error)
        assert URL in str(error)


@pytest.mark.parametrize(
    "error",
    [
        {"message": "no", "code": "context_length_exceeded"},
        {"message": "no", "type": "exceed_context_size_error", "n_ctx": 4096},
        {"message": "rate limited", "code": "context_length_exceeded"},
    ],
)
def test_too_long_is_recognized_by_its_code(error: Any) -> None:
    assert type(refused(500, {"error": error})) is ContextTooLong


def test_a_body_that_is_too_large_is_too_long() -> None:
    assert type(refused(413, "<html>413 Request Entity Too Large</html>")) is ContextTooLong


@pytest.mark.parametrize(("status", "message", "kind"), NOT_TOO_LONG)
def test_other_limits_are_not_too_long(status: int, message: str, kind: type) -> None:
    assert type(refused(status, {"error": {"message": message}})) is kind


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (401, "wrong key", EngineLost),
        (403, "forbidden", EngineLost),
        (400, "tiny is not a multimodal model", Unsupported),
        (500, "image input is not supported - hint: you may need to provide the mmproj",
         Unsupported),
        (408, "timeout", TransientError),
        (429, "too many multimodal requests", TransientError),
        (429, "slow down", TransientError),
        (429, "You have insufficient_quota: check your billing", EngineError),
        (500, "CUDA out of memory", TransientError),
        (501, "not implemented", EngineError),
        (520, "", TransientError),
        (529, "Overloaded", TransientError),
        (400, "bad", EngineError),
    ],
)  # fmt: skip
def test_the_status_says_whether_a_request_is_sent_again(
    status: int, message: str, kind: type
) -> None:
    assert type(refused(status, {"error": {"message": message}})) is kind
    assert type(refused(status, message)) is kind


# Errors in a response with status 200, and what they are.
ERRORS = [
    ({"error": {"message": "worker crashed", "type": "server_error", "code": None}}, 500),
    ({"error": {"message": "no capacity left", "code": 503}}, 503),
    ({"error": {"message": "slow down", "code": "429"}}, 429),
    ({"error": {"message": "slow down", "type": "rate_limit_exceeded"}}, 429),
    ({"error": "worker crashed"}, 500),
    ({"error": ["worker crashed"]}, 500),
    ({"error": True, "message": "worker crashed"}, 500),
    ({"errors": [{"message": "worker crashed"}]}, 500),
    ([{"error": {"code": 503, "message": "worker crashed", "status": "UNAVAILABLE"}}], 503),
    ({"object": "error", "message": "CUDA out of memory", "code": 500}, 500),
    ({"object": "error", "message": "no such field", "type": "BadRequestError", "code": 400}, 400),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, 503),
    ({"type": "error", "code": "ERR_SOMETHING", "message": "Something went wrong"}, 500),
    ({"status": "error", "message": "worker crashed"}, 500),
    ({"detail": "Internal Server Error"}, 500),
    ({"detail": [{"loc": ["body", "seed"], "msg": "not an integer", "type": "int"}]}, 500),
    ({"message": "Internal Server Error"}, 500),
    ({"code": 400, "msg": "no such field"}, 400),
    ({"error": {"message": "no such field", "code": "400"}}, 400),
    ({"error": {"message": "no such field", "type": "invalid_request_error"}}, 400),
    ({"error": {"message": "wrong key", "type": "authentication_error"}}, 401),
    ({"error": "Unauthorized"}, 401),
    ({"choices": [{"delta": {"content": ""}, "finish_reason": "error"}],
      "error": {"code": 502, "message": "provider gone"}}, 502),
    ({"choices": [{"error": {"message": "provider gone", "code": 502}}]}, 502),
    ({"error": {"message": "This endpoint's maximum context length is 4096", "code": "400"}}, 413),
]  # fmt: skip


@pytest.mark.parametrize(("value", "status"), ERRORS)
def test_an_error_in_a_successful_response_is_recognized(value: Any, status: int) -> None:
    error = raised(refuse_errors, value, URL)
    kinds = {400: EngineError, 401: EngineLost, 413: ContextTooLong}
    assert type(error) is kinds.get(status, TransientError)
    assert URL in str(error)
    assert "no reason given" not in str(error)


@pytest.mark.parametrize("value", ["worker crashed", {"reason": "worker crashed"}, {}, ""])
def test_an_event_with_the_name_of_an_error_is_one(value: Any) -> None:
    assert isinstance(raised(refuse_errors, value, URL, "error"), TransientError)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"error": None, "choices": [{"delta": {"content": "x"}}]},
        {"error": {}, "choices": []},
        {"error": {"code": 0, "message": ""}, "choices": [{}]},
        {"error": "", "data": []},
        {"error": False},
        {"type": "ping"},
        {"type": "ping", "message": "still here"},
        {"object": "chat.completion.chunk", "choices": [], "usage": {"prompt_tokens": 3}},
        {"object": "list", "data": [{"id": "error"}]},
        {"choices": [{"message": {"content": "an error"}}], "message": "ok", "code": 200},
        {"prompt": "x", "detail": ""},
        {"model": "x", "message": {"role": "assistant", "content": "x"}},
        [{"id": "a"}],
        "error",
        None,
    ],
)
def test_other_values_are_not_errors(value: Any) -> None:
    refuse_errors(value, URL)


@pytest.mark.parametrize("before", ["no access with ", "x " * 140])
@pytest.mark.parametrize("key", ["sk-s3cret-key", "s3cret-" * 30])
def test_a_key_that_an_error_repeats_is_not_shown(before: str, key: str) -> None:
    with pytest.raises(EngineError) as found:
        refuse_errors({"error": {"message": before + key, "code": 400}}, URL, hide=key)
    assert "***" in str(found.value)
    assert "s3cret" not in str(found.value)


def test_a_message_is_one_printable_line() -> None:
    error = refused(400, {"error": {"message": "a\n" + "b " * 500 + "\ud83c"}})
    assert "\n" not in str(error)
    assert len(str(error)) < 500
    str(refused(400, {"error": "\ud83c"})).encode()
    assert "no reason given" in str(refused(400, b"".decode()))
