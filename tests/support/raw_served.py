"""A model server whose streamed responses can be changed before they are sent, byte by byte."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from dreamr.engines import words

Json = dict[str, Any]
DONE = b"data: [DONE]\n\n"
TOPS = [("positive", -0.105), ("negative", -2.303)]


@dataclass
class Reply:
    """One response.

    Attributes:
        pieces: Body, and an exception where the connection is lost.
        status: Status code.
        kind: Content type, empty for none.
        headers: Other headers.
    """

    pieces: list[bytes | Exception]
    status: int = 200
    kind: str = "text/event-stream"
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> httpx2.Response:
        headers = self.headers | ({"content-type": self.kind} if self.kind else {})
        return httpx2.Response(self.status, headers=headers, stream=_Body(self.pieces))


class _Body(httpx2.AsyncByteStream):
    def __init__(self, pieces: list[bytes | Exception]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def events(rest: str, most: int) -> list[Json]:
    """The events of a good response: a role, one piece per token, a finish reason, the usage."""
    tokens = list(words(rest))
    finish = "stop" if len(tokens) <= most else "length"
    tokens = tokens[:most]
    pieces = [{"role": "assistant", "content": ""}, *({"content": token} for token in tokens), {}]
    found: list[Json] = [
        {"id": "c1", "object": "chat.completion.chunk", "choices": [
            {"index": 0, "delta": piece, "finish_reason": None, "logprobs": None}
        ]}
        for piece in pieces
    ]  # fmt: skip
    found[-1]["choices"][0]["finish_reason"] = finish
    usage = {"prompt_tokens": 7, "completion_tokens": len(tokens), "total_tokens": 7 + len(tokens)}
    return [*found, {"id": "c1", "choices": [], "usage": usage}]


def lines(event: object) -> bytes:
    """The lines of one event; only half characters are escaped."""
    text = json.dumps(event, ensure_ascii=False)
    text = re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)
    return f"data: {text}\n\n".encode()


def good(found: list[Json]) -> Reply:
    """The response of a server without faults."""
    return Reply([*(lines(event) for event in found), DONE])


@dataclass
class RawServed:
    """A model server that continues a script.

    Attributes:
        script: The whole text that the model writes.
        stream: Makes the response from its number and its good events.
        answer: Changes a response that is not streamed.
        models: The list of models.
    """

    script: str
    stream: Callable[[int, list[Json]], Reply] = lambda number, found: good(found)
    answer: Callable[[Json], Any] = lambda found: found
    models: Any = field(default_factory=lambda: {"data": [{"id": "tiny", "owned_by": "somebody"}]})

    def __post_init__(self) -> None:
        self.streamed: list[Json] = []

    @property
    def transport(self) -> httpx2.MockTransport:
        return httpx2.MockTransport(self.handle)

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/models"):
            return _json(self.models)
        if not request.url.path.endswith("/completions"):
            return _json({"detail": "Not Found"}, 404)
        body = json.loads(request.content)
        if not body.get("stream"):
            return _json(self.answer(self._answer(body)))
        self.streamed.append(body)
        last = body["messages"][-1]
        prefix = last["content"] if last["role"] == "assistant" else ""
        assert self.script.startswith(prefix), prefix
        rest = self.script[len(prefix) :]
        return self.stream(len(self.streamed), events(rest, body["max_tokens"])).response()

    def _answer(self, body: Json) -> Json:
        turns = body["messages"]
        opened = turns if turns[-1]["role"] == "assistant" else [*turns, {"content": ""}]
        length = sum(len(list(words(turn["content"]))) + 2 for turn in opened)
        tops = [{"token": token, "logprob": value} for token, value in TOPS]
        choice: Json = {
            "message": {"role": "assistant", "content": "positive"},
            "finish_reason": "length",
            "logprobs": {"content": [{**tops[0], "top_logprobs": tops}]},
        }
        usage = {"prompt_tokens": length, "completion_tokens": 1}
        return {"id": "c1", "choices": [choice], "usage": usage}


def _json(value: Any, status: int = 200) -> httpx2.Response:
    return httpx2.Response(status, text=json.dumps(value))  # also NaN, as many servers send it
