"""Every API over the bundled pair: the same answer, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from dreamr import Reasoner, RunOptions
from support.gateways import Gateway, Json, app_of

QUESTION = "What is 17 + 25?"
MESSAGES = [{"role": "user", "content": QUESTION}]
THINKING = {"type": "enabled", "budget_tokens": 4000}
BODIES: dict[str, Json] = {
    "/v1/chat/completions": {"messages": MESSAGES, "max_tokens": 4096},
    "/v1/completions": {"prompt": QUESTION, "max_tokens": 4096},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 4096, "thinking": THINKING},
    "/v1/responses": {"input": QUESTION, "max_output_tokens": 4096},
}


def whole(path: str, body: Any) -> tuple[str, str]:
    """Return reasoning and answer of a response."""
    match path:
        case "/v1/chat/completions":
            message = body["choices"][0]["message"]
            return message["reasoning"], message["content"]
        case "/v1/completions":
            choice = body["choices"][0]
            return choice["reasoning"], choice["text"]
        case "/v1/messages":
            return body["content"][0]["thinking"], body["content"][1]["text"]
    thought, message = body["output"]
    return thought["content"][0]["text"], message["content"][0]["text"]


def streamed(path: str, raw: bytes) -> tuple[str, str]:
    """Return reasoning and answer of a stream."""
    lines = [line[6:] for line in raw.decode().split("\n") if line.startswith("data: ")]
    events = [json.loads(line) for line in lines if line != "[DONE]"]
    match path:
        case "/v1/chat/completions":
            deltas = [event["choices"][0]["delta"] for event in events]
            names = "reasoning", "content"
        case "/v1/completions":
            deltas, names = [event["choices"][0] for event in events], ("reasoning", "text")
        case "/v1/messages":
            deltas, names = [event.get("delta", {}) for event in events], ("thinking", "text")
        case _:
            deltas = [{event["type"]: event.get("delta")} for event in events]
            names = "response.reasoning_text.delta", "response.output_text.delta"
    reasoning, answer = ("".join(delta.get(name) or "" for delta in deltas) for name in names)
    return reasoning, answer


@pytest.mark.slow
def test_every_api_gives_the_same_answer_whole_and_streamed() -> None:
    async def main() -> dict[str, list[tuple[str, str]]]:
        async with Reasoner(RunOptions(deterministic=True)) as reasoner:
            app = app_of(reasoner)
            gate = Gateway(app, reasoner, None, None)  # type: ignore[arg-type]
            found = {}
            for path, body in BODIES.items():
                asked = {"model": "dreamr", "temperature": 0, **body}
                one = await gate.ask(asked, path)
                other = await gate.ask({**asked, "stream": True}, path)
                found[path] = [whole(path, one.json), streamed(path, other.body)]
            return found

    found = anyio.run(main)
    answers = {answer for both in found.values() for answer in both}
    assert len(answers) == 1, found
    [(reasoning, answer)] = answers
    assert reasoning
    assert answer


@pytest.mark.slow
def test_the_answer_keeps_to_a_schema_and_tools_are_refused_with_advice() -> None:
    schema = {
        "type": "object",
        "properties": {"sum": {"type": "integer"}},
        "required": ["sum"],
        "additionalProperties": False,
    }
    format_ = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema}}
    tools = [{"type": "function", "function": {"name": "price"}}]
    asked: Json = {"model": "dreamr", "messages": MESSAGES}

    async def main() -> tuple[Json, str, Json]:
        async with Reasoner(RunOptions()) as reasoner:
            gate = Gateway(app_of(reasoner), reasoner, None, None)  # type: ignore[arg-type]
            formed = {**asked, "response_format": format_}
            whole = await gate.ask(formed)
            stream = await gate.ask({**formed, "stream": True})
            return (
                whole.json,
                stream.said("content"),
                (await gate.ask({**asked, "tools": tools})).json,
            )

    body, said, refused = anyio.run(main)
    message = body["choices"][0]["message"]
    assert message["reasoning_content"]
    for text in (message["content"], said):
        assert isinstance(json.loads(text)["sum"], int)
    assert "does not show calls as JSON" in refused["error"]["message"]
