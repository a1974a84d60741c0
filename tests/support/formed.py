"""A scripted vLLM that also writes answers in a form."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2

from support.served import Json, event_bytes, json_response
from support.templated import Templated

PARSER = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'


@dataclass
class Formed(Templated):
    """A `Templated` with a tool parser and grammars.

    Attributes:
        answers: Deltas of the answers in a form, one list per request; the last one repeats.
        parses: Whether calls of tools are parsed.
        reason: Finish reason of the answers.
    """

    answers: list[list[Json]] = field(default_factory=list)
    parses: bool = True
    reason: str | None = "stop"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.formed: list[Json] = []  # requests for answers in a form

    def _answer(self, body: Json) -> httpx2.Response:
        if body.get("tool_choice", "none") == "auto" and not self.parses:
            return json_response({"error": {"message": PARSER}}, 400)
        return super()._answer(body)

    async def events(self, body: Json) -> AsyncIterator[bytes]:
        if not demands(body):
            async for event in super().events(body):
                yield event
            return
        number, _ = len(self.formed), self.formed.append(body)
        deltas = self.answers[min(number, len(self.answers) - 1)]
        lost = self.breaks.pop(0) if self.breaks else None
        for count, delta in enumerate(deltas, 1):
            if lost is not None and count > lost:
                raise httpx2.ReadError("gone")
            delta = dict(delta)
            choice: Json = {"index": 0, "logprobs": delta.pop("logprobs", None), "delta": delta}
            yield event_bytes({"choices": [choice], "usage": {"completion_tokens": count}})
        if self.reason is not None:
            yield event_bytes({"choices": [{"delta": {}, "finish_reason": self.reason}]})
        yield b"data: [DONE]\n\n"


def demands(body: Json) -> bool:
    """Whether a request demands an answer in a form."""
    formats = ("response_format", "structured_outputs")
    chosen: Any = body.get("tool_choice", "none")
    return any(name in body for name in formats) or chosen != "none" or "top_logprobs" in body
