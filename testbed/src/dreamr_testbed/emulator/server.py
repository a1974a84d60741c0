"""The emulated model as an OpenAI-compatible HTTP server, in the manner of vLLM."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from dreamr.steps import Role
from dreamr_testbed.emulator.batching import Batching, Rates
from dreamr_testbed.emulator.chains import Chains, split_tokens

Json = dict[str, Any]

_IMAGE_TOKENS = 1024


@dataclass(slots=True)
class _Vocabulary:
    """Numbers of tokens, for the endpoints that render prompts."""

    numbers: dict[str, int] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)

    def number(self, token: str) -> int:
        if token not in self.numbers:
            self.numbers[token] = len(self.tokens)
            self.tokens.append(token)
        return self.numbers[token]


class _Model:
    """One emulated model: renders prompts, writes, judges.

    Args:
        role: Whether it writes the draft's steps or the target's.
        chains: What it writes.
        batching: Its devices.
    """

    def __init__(self, role: Role, chains: Chains, batching: Batching) -> None:
        self._role, self._chains, self._batching = role, chains, batching
        self._vocabulary = _Vocabulary()
        self.name = f"emulated-{role}"

    def routes(self) -> list[Route]:
        """Return the routes of the server."""
        return [
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/tokenize", self._tokenize, methods=["POST"]),
            Route("/detokenize", self._detokenize, methods=["POST"]),
            Route("/metrics", self._metrics),
            Route("/health", self._health),
        ]

    async def _health(self, _: Request) -> Response:
        return JSONResponse({})

    async def _models(self, _: Request) -> Response:
        card = {"id": self.name, "object": "model", "owned_by": "vllm", "max_model_len": 32768}
        return JSONResponse({"object": "list", "data": [card]})

    async def _metrics(self, _: Request) -> Response:
        lines = (
            f"vllm:num_requests_running {self._batching.running}",
            f'vllm:cache_config_info{{block_size="{self._batching.block}"}} 1.0',
        )
        return PlainTextResponse("".join(f"{line}\n" for line in lines))

    async def _tokenize(self, request: Request) -> Response:
        body = await request.json()
        tokens = split_tokens(body["prompt"]) if "prompt" in body else _prompt(body)
        return JSONResponse({"tokens": [self._vocabulary.number(token) for token in tokens]})

    async def _detokenize(self, request: Request) -> Response:
        numbers = (await request.json())["tokens"]
        return JSONResponse({"prompt": "".join(self._vocabulary.tokens[n] for n in numbers)})

    async def _chat(self, request: Request) -> Response:
        try:
            body = await request.json()
        except ClientDisconnect:
            return Response(status_code=499)
        prompt, salt = _prompt(body), body.get("cache_salt", "")
        if not body.get("stream"):
            return JSONResponse(await self._whole(body, prompt, salt))
        return StreamingResponse(self._stream(body, prompt, salt), media_type="text/event-stream")

    async def _whole(self, body: Json, prompt: list[str], salt: str) -> Json:
        cached = self._batching.cached(prompt, salt)
        most = body.get("max_tokens") or 4096
        text, tops = self._reply(body)
        tokens = split_tokens(text)[:most]
        async with aclosing(self._batching.write(prompt, tokens, salt)) as written:
            async for _ in written:
                pass
        choice: Json = {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(tokens)},
            "finish_reason": "length" if len(tokens) == most else "stop",
        }
        if body.get("logprobs"):
            entries = [{"token": token, "logprob": math.log(p)} for token, p in tops.items()]
            choice["logprobs"] = {"content": [{**entries[0], "top_logprobs": entries}]}
        usage = _usage(prompt, len(tokens)) | {"prompt_tokens_details": {"cached_tokens": cached}}
        return {"id": "emulated", "object": "chat.completion", "choices": [choice], "usage": usage}

    def _reply(self, body: Json) -> tuple[str, dict[str, float]]:
        """Return what the model says in whole, and the probabilities of its first token."""
        turns = body["messages"]
        chain = self._chains.of(_text(turns[0]))
        if len(turns) > 1 and turns[-1]["role"] == "user" and turns[-2]["role"] == "assistant":
            right = chain.judge(_text(turns[-2]))
            tops = {"positive": right, "negative": 1 - right}
            if "digit from 0 to 9" in _text(turns[-1]):
                tops = {"9": right, "2": 1 - right}
            return max(tops, key=lambda token: tops[token]), tops
        text = chain.continuation(self._role, _prefix(body), _seed(body))
        return text, {split_tokens(text)[0]: 1.0}

    async def _stream(self, body: Json, prompt: list[str], salt: str) -> AsyncIterator[bytes]:
        chain, prefix = self._chains.of(_text(body["messages"][0])), _prefix(body)
        text = split_tokens(chain.continuation(self._role, prefix, _seed(body)))
        most = body.get("max_tokens") or 4096
        position, written = chain.position_after(prefix), 0
        yield _event({"role": "assistant", "content": ""}, None, None)
        async with aclosing(self._batching.write(prompt, text[:most], salt)) as tokens:
            async for token in tokens:
                written += 1
                logprob = None
                if body.get("logprobs"):
                    logprob = math.log(chain.token_probability(self._role, position, _seed(body)))
                    position += token == "\n\n"
                yield _event({"content": token}, None, _usage(prompt, written), token, logprob)
        yield _event({}, "length" if written < len(text) else "stop", _usage(prompt, written))
        yield b"data: [DONE]\n\n"


def build_app(role: Role, chains: Chains, rates: Rates) -> Starlette:
    """Build the server of one emulated model.

    Args:
        role: Whether it writes the draft's steps or the target's.
        chains: What it writes; the same for draft and target.
        rates: Seconds of its passes.
    """
    return Starlette(routes=_Model(role, chains, Batching(rates)).routes())


def _event(
    delta: Json,
    finish: str | None,
    usage: Json | None,
    token: str | None = None,
    logprob: float | None = None,
) -> bytes:
    choice: Json = {"index": 0, "delta": delta, "finish_reason": finish}
    if logprob is not None:
        entry = {"token": token, "logprob": logprob}
        choice["logprobs"] = {"content": [{**entry, "top_logprobs": [entry]}]}
    body = {"id": "emulated", "object": "chat.completion.chunk", "created": int(time.time())}
    return b"data: " + json.dumps(body | {"choices": [choice], "usage": usage}).encode() + b"\n\n"


def _usage(prompt: list[str], written: int) -> Json:
    return {
        "prompt_tokens": len(prompt),
        "completion_tokens": written,
        "total_tokens": len(prompt) + written,
    }


def _prompt(body: Json) -> list[str]:
    """Return the tokens of a prompt: each turn opens and ends with one of its own."""
    tokens: list[str] = []
    turns = body["messages"]
    for place, turn in enumerate(turns):
        tokens += [f"<{turn['role']}>", *_content_tokens(turn.get("content") or "")]
        if place < len(turns) - 1 or not body.get("continue_final_message"):
            tokens.append("<end>")
    return tokens if body.get("continue_final_message") else [*tokens, "<assistant>"]


def _content_tokens(content: Any) -> list[str]:
    if isinstance(content, str):
        return split_tokens(content)
    tokens: list[str] = []
    for part in content:
        if part.get("type") == "text":
            tokens += split_tokens(part["text"])
        else:
            name = sha256(json.dumps(part).encode()).hexdigest()[:16]
            tokens += [f"<{name}:{n}>" for n in range(_IMAGE_TOKENS)]
    return tokens


def _text(turn: Json) -> str:
    content = turn.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content)


def _seed(body: Json) -> int:
    return int(body.get("seed") or 0) if body.get("temperature") else 0


def _prefix(body: Json) -> str:
    last = body["messages"][-1]
    continued = body.get("continue_final_message") and last["role"] == "assistant"
    return _text(last) if continued else ""
