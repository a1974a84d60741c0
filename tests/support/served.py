"""A scripted model server on a transport without a network, in the dialects of several servers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import httpx2

from dreamr.engines import words

Json = dict[str, Any]
PLAIN, THINKING, FORGETFUL = "plain", "thinking", "forgetful"


@dataclass
class Served:
    """A model server that continues a script.

    Attributes:
        owner: The `owned_by` of its models, which tells the kind of server.
        script: The whole text that the model writes.
        labels: Probabilities of an answer's first token.
        template: Chat template. THINKING inserts a closed think block before a continuation;
            FORGETFUL drops earlier assistant turns.
        shows: Whether /tokenize and /detokenize exist.
        models: Names of the models.
        failures: What the next requests to the chat meet: a status or an exception.
        headers: Headers of responses with a failure status.
        breaks: Numbers of tokens after which streams lose the connection, one per stream.
        said: Replaces the continuation of the script.
        parsed: Whether reasoning comes in a separate field.
        field_name: Name of that field.
        ahead: Seconds that the server's clock is ahead; None if it sends no date.
        echoes: Whether the prefix is repeated before its continuation, as llama.cpp does.
        token_probability: Probability of each token.
        list_status: Status of the list of models.
        prioritized: Whether requests may have a priority.
        prompt_tokens: Prompt length that streams report; None if they do not.
        answers_as: Model that responses name; None if they name none.
        context: Context length in the list of models, None if it has none.
        cached: Number of cached tokens that responses report, None if they do not.
        started: When the server started (Unix time), as its metrics tell; None if it has none.
    """

    owner: str = "vllm"
    script: str = ""
    labels: dict[str, float] = field(default_factory=lambda: {"positive": 0.9, "negative": 0.1})
    template: str = PLAIN
    shows: bool = True
    models: Sequence[str] = ("tiny",)
    failures: list[int | Exception] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    said: Callable[[Json], str] | None = None
    parsed: bool = False
    field_name: str = "reasoning"
    ahead: float | None = None
    echoes: bool = False
    token_probability: float = 1.0
    prompt_tokens: int | None = None
    answers_as: str | None = None
    context: int | None = None
    cached: int | None = None
    list_status: int = 200
    prioritized: bool = True
    started: float | None = None

    def __post_init__(self) -> None:
        self.requests: list[tuple[str, Json]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.open_streams = 0
        self._words: list[str] = []

    @property
    def transport(self) -> httpx2.MockTransport:
        return httpx2.MockTransport(self.handle)

    @property
    def chats(self) -> list[Json]:
        return [body for path, body in self.requests if path.endswith("completions")]

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        body = json.loads(request.content) if request.content else {}
        self.requests.append((path, body))
        self.headers_seen.append(dict(request.headers))
        match path:
            case "/v1/models":
                entry = {"owned_by": self.owner, "max_model_len": self.context}
                listed = [{"id": model, **entry} for model in self.models]
                return json_response({"data": listed}, self.list_status, headers=self._date())
            case "/tokenize" if self.shows:
                return json_response(
                    {"tokens": [self._id(word) for word in words(self.render(body))]}
                )
            case "/detokenize" if self.shows:
                return json_response({"prompt": "".join(self._words[i] for i in body["tokens"])})
            case "/v1/chat/completions" | "/v1/completions":
                return self._answer(body)
            case "/metrics" if self.started is not None:
                return httpx2.Response(200, text=f"process_start_time_seconds {self.started}\n")
            case "/abort_request":
                return json_response({})
        return json_response({"detail": "Not Found"}, 404)

    def _date(self) -> dict[str, str]:
        return {} if self.ahead is None else {"date": formatdate(time.time() + self.ahead)}

    def _answer(self, body: Json) -> httpx2.Response:
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return json_response({"error": {"message": "not now"}}, failure, self.headers)
        if body.get("priority") and not self.prioritized:
            message = "Got priority -2 but Priority scheduling is not enabled."
            return json_response({"error": {"message": message}}, 400)
        if body.get("stream"):
            return httpx2.Response(
                200, headers={"content-type": "text/event-stream"}, stream=_Stream(self, body)
            )
        tops = [{"token": t, "logprob": math.log(p)} for t, p in self.labels.items()]
        logprobs = {"content": [{**tops[0], "top_logprobs": tops}]}
        if "prompt" in body:
            logprobs = {"top_logprobs": [{top["token"]: top["logprob"] for top in tops}]}
        text = self._prefix(body) + "x" if self.echoes else "x"
        usage: Json = {"prompt_tokens": len(list(words(self.render(body)))), "completion_tokens": 1}
        if self.cached is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": self.cached}
        choice = {"message": {"content": text}, "logprobs": logprobs}
        return json_response({**self._named(), "choices": [choice], "usage": usage})

    def _named(self) -> Json:
        return {} if self.answers_as is None else {"model": self.answers_as}

    def render(self, body: Json) -> str:
        if "prompt" in body:
            return str(body["prompt"])
        turns = body["messages"]
        goes_on = turns[-1]["role"] == "assistant"
        text = ""
        for place, turn in enumerate(turns):
            last = place == len(turns) - 1
            if turn["role"] == "assistant" and not last and self.template == FORGETFUL:
                text += "<assistant> <end> "
            elif turn["role"] == "assistant" and last and self.template == THINKING:
                text += "<assistant> <think> </think> " + turn["content"]
            else:
                content = turn["content"]
                shown = content if isinstance(content, str) else json.dumps(content)
                text += f"<{turn['role']}> {shown}" + ("" if last and goes_on else " <end> ")
        opened = "<assistant> <think> " if self.template == THINKING else "<assistant> "
        return text if goes_on else text + opened

    def _id(self, word: str) -> int:
        if word not in self._words:
            self._words.append(word)
        return self._words.index(word)

    def continuation(self, body: Json) -> str:
        if self.said is not None:
            return self.said(body)
        prefix = self._prefix(body)
        assert self.script.startswith(prefix), prefix
        return self.script[len(prefix) :]

    def _prefix(self, body: Json) -> str:
        if "prompt" in body:
            return str(body["prompt"]).rpartition("<think> ")[2]
        last = body["messages"][-1]
        return str(last["content"]) if last["role"] == "assistant" else ""

    async def events(self, body: Json) -> AsyncIterator[bytes]:
        tokens = list(words(self.continuation(body)))
        most = body["max_tokens"]
        counted = (body.get("stream_options") or {}).get("continuous_usage_stats")
        lost = self.breaks.pop(0) if self.breaks else None
        yield b": keep-alive\n\n"
        thinking = self.parsed and "</think>" in "".join(tokens)
        for number, token in enumerate(tokens[:most], 1):
            if lost is not None and number > lost:
                raise httpx2.ReadError("gone")
            name = self.field_name if thinking else "content"
            if self.echoes and number == 1:  # with the first token, in one piece
                token = self._prefix(body) + token
            if thinking and "</think>" in token:
                thinking, token = False, ""
            finish = None
            if number == len(tokens):
                finish = "stop"
            elif number == most:
                finish = "length"
            choice: Json = {"delta": {name: token}, "finish_reason": finish}
            if "prompt" in body:
                choice = {"text": token, "finish_reason": finish}
            if body.get("logprobs"):
                content = [{"token": token, "logprob": math.log(self.token_probability)}]
                choice["logprobs"] = {"content": content}
                if "prompt" in body:
                    choice["logprobs"] = {"token_logprobs": [math.log(self.token_probability)]}
            event: Json = {**self._named(), "choices": [choice]}
            if counted:
                event["usage"] = {
                    "completion_tokens": number,
                    **({"prompt_tokens": self.prompt_tokens} if self.prompt_tokens else {}),
                }
            yield event_bytes(event)
        if not tokens:
            yield event_bytes({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        yield event_bytes({"choices": [], "usage": {"completion_tokens": min(most, len(tokens))}})
        yield b"data: [DONE]\n\n"


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, served: Served, body: Json) -> None:
        self._served = served
        self._events = served.events(body)
        served.open_streams += 1

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for event in self._events:
            yield event

    async def aclose(self) -> None:
        self._served.open_streams -= 1


def event_bytes(values: Json) -> bytes:
    return f"data: {json.dumps(values)}\n\n".encode()


def json_response(
    values: Json, status: int = 200, headers: dict[str, str] | None = None
) -> httpx2.Response:
    return httpx2.Response(status, json=values, headers=headers)
