"""Random bodies of requests to every API: valid ones with random changes, and damage."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

from support.gateways import Json

PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_BASE64 = PNG.partition(",")[2]
_SCHEMA = {"type": "object", "properties": {"of": {"type": "string"}}}
WORDS: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**63, 1e308, "", "x", "dreamr", "user", "\u0000", "é" * 50,
    "\ud800", [], {}, [[]], {"type": "text"}, {"type": "image_url"}, {"url": PNG}, PNG, "data:,x",
    "http://127.0.0.1/", {"type": "image_url", "image_url": {"url": PNG}}, "assistant", "tool",
    {"type": "text", "text": "hi"}, [{"role": "user", "content": "hi"}], "target", "t1",
    {"type": "input_text", "text": "hi"},
    {"type": "tool_use", "id": "t1", "name": "x", "input": {}},
    {"type": "tool_result", "tool_use_id": "t1", "content": "1"}, {"type": "thinking"},
    {"type": "function_call", "call_id": "t1", "name": "x", "arguments": "{"},
    {"type": "function_call_output", "call_id": "t1", "output": "1"}, {"type": "json_object"},
)  # fmt: skip
NAMES = (
    "model", "messages", "role", "content", "type", "text", "image_url", "url", "stream", "stop",
    "stream_options", "include_usage", "max_tokens", "temperature", "top_p", "seed", "n", "tools",
    "dreamr", "method", "window", "threshold", "deadline", "events", "other", "input", "source",
    "prompt", "system", "instructions", "thinking", "budget_tokens", "previous_response_id",
    "tool_choice", "name", "id", "call_id", "output", "reasoning", "store", "stop_sequences",
)  # fmt: skip
_RUN = {"method": "fpsr", "window": 2}
VALID: Mapping[str, tuple[Json, ...]] = {
    "/v1/chat/completions": (
        {
            "model": "dreamr", "stream": True, "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": [
                {"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": PNG}}]}],
            "max_tokens": 5, "temperature": 0.5, "stop": ["x"], "dreamr": {**_RUN, "events": True},
        },
        {
            "model": "dreamr", "n": 2, "reasoning_effort": "low", "logprobs": True,
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": None, "reasoning": "Ask.", "tool_calls": [
                    {"id": "t1", "type": "function",
                     "function": {"name": "x", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "t1", "content": "21"},
            ],
            "tools": [{"type": "function",
                       "function": {"name": "x", "parameters": _SCHEMA, "strict": True}}],
            "tool_choice": "auto", "parallel_tool_calls": True, "top_logprobs": 2,
            "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}},
            "chat_template_kwargs": {"enable_thinking": False},
        },
    ),
    "/v1/completions": (
        {
            "model": "dreamr", "prompt": ["hi"], "stream": True, "max_tokens": 5, "stop": ["x"],
            "stream_options": {"include_usage": True}, "temperature": 0.5, "dreamr": _RUN,
        },
    ),
    "/v1/messages": (
        {
            "model": "dreamr", "max_tokens": 9, "stream": True, "temperature": 0.5,
            "system": [{"type": "text", "text": "Be brief."}], "stop_sequences": ["x"],
            "thinking": {"type": "enabled", "budget_tokens": 5}, "dreamr": _RUN,
            "messages": [{"role": "user", "content": [
                {"type": "text", "text": "hi"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png",
                                             "data": _BASE64}},
                {"type": "document", "source": {"type": "text", "data": "Tea: 2.50"}}]}],
        },
        {
            "model": "target", "max_tokens": 9, "tool_choice": {"type": "auto"},
            "tools": [{"name": "x", "description": "y", "input_schema": _SCHEMA}],
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                    {"type": "tool_use", "id": "t1", "name": "x", "input": {"of": "tea"}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": [
                        {"type": "text", "text": "1"}]}]},
            ],
        },
    ),
    "/v1/messages/count_tokens": (
        {
            "model": "dreamr", "system": "Be brief.",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        },
    ),
    "/v1/responses": (
        {
            "model": "dreamr", "stream": True, "instructions": "Be brief.", "temperature": 0.5,
            "max_output_tokens": 9, "reasoning": {"effort": "low", "summary": "auto"},
            "text": {"format": {"type": "text"}}, "store": True, "dreamr": _RUN,
            "input": [{"role": "user", "content": [
                {"type": "input_text", "text": "hi"},
                {"type": "input_image", "image_url": PNG}]}],
        },
        {
            "model": "dreamr", "tool_choice": "auto", "parallel_tool_calls": True,
            "tools": [{"type": "function", "name": "x", "parameters": _SCHEMA, "strict": True}],
            "input": [
                {"type": "message", "role": "user", "content": "hi"},
                {"type": "reasoning", "id": "r", "summary": [],
                 "content": [{"type": "reasoning_text", "text": "Hm."}]},
                {"type": "function_call", "call_id": "t1", "name": "x", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "t1", "output": "1"},
            ],
        },
    ),
}  # fmt: skip


def changed(value: Any, draws: random.Random, rate: float) -> Any:
    """Return the value with random replacements."""
    if draws.random() < rate:
        return draws.choice(WORDS)
    if isinstance(value, dict):
        found = {k: changed(v, draws, rate) for k, v in value.items() if draws.random() > rate / 3}
        if draws.random() < rate:
            found[draws.choice(NAMES)] = draws.choice(WORDS)
        return found
    if isinstance(value, list):
        found = [changed(item, draws, rate) for item in value]
        return found * (300 if draws.random() < 0.01 else 1)
    return value


def random_bodies(path: str, count: int, draws: random.Random) -> Iterator[bytes]:
    """Yield bodies for an endpoint; some are cut or damaged."""
    for _ in range(count):
        valid = draws.choice(VALID[path])
        raw = json.dumps(changed(valid, draws, draws.choice((0.01, 0.05, 0.2)))).encode()
        match draws.randrange(8):
            case 0:
                raw = raw[: draws.randrange(len(raw) + 1)]
            case 1:
                place = draws.randrange(len(raw) or 1)
                raw = raw[:place] + draws.randbytes(draws.randrange(1, 4)) + raw[place + 1 :]
        yield raw
