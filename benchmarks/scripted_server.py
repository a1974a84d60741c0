"""Serve a scripted model with the API of a model server, for soak.py.

    python benchmarks/scripted_server.py PORT [--token-seconds 0.005]

It continues one text for each question, whose length depends on the question, and returns
probabilities of the judge's labels: one step of five is judged wrong.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import AsyncIterator
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

ANSWER = "42"
STEPS = 6
Json = dict[str, Any]


def script(question: str) -> str:
    """Return all that the model writes after a question."""
    steps = (f"Step {number} about {len(question)} letters.\n\n" for number in range(STEPS))
    return "".join(steps) + f"Answer: {ANSWER}"


class Model:
    """The scripted model.

    Args:
        seconds: Seconds per token.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def models(self, _: Request) -> Response:
        """List the model."""
        return JSONResponse({"data": [{"id": "scripted", "owned_by": "soak"}]})

    async def chat(self, request: Request) -> Response:
        """Continue a conversation, or judge its last step."""
        try:
            body = await request.json()
        except ClientDisconnect:
            return Response(status_code=499)
        if body.get("stream"):
            chunks = self._stream(body["messages"], body["max_tokens"])
            return StreamingResponse(chunks, media_type="text/event-stream")
        await anyio.sleep(4 * self._seconds)
        text = json.dumps(body["messages"])
        positive = 0.2 if len(text) % 5 == 0 else 0.95
        tops = [
            {"token": "positive", "logprob": math.log(positive)},
            {"token": "negative", "logprob": math.log(1 - positive)},
        ]
        choice = {
            "message": {"content": "x"},
            "logprobs": {"content": [{**tops[0], "top_logprobs": tops}]},
            "finish_reason": "length",
        }
        words = sum(len(str(message["content"]).split()) for message in body["messages"])
        usage = {"prompt_tokens": words, "completion_tokens": 1}
        return JSONResponse({"choices": [choice], "usage": usage})

    async def _stream(self, messages: list[Json], most: int) -> AsyncIterator[bytes]:
        prefix = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
        rest = _rest(script(_question(messages)), prefix)
        tokens = re.findall(r"\S+\s*", rest)
        if not tokens:
            yield _event({}, "stop")
        for number, token in enumerate(tokens[:most], 1):
            await anyio.sleep(self._seconds)
            finish = "length" if number == most else None
            yield _event({"content": token}, "stop" if number == len(tokens) else finish)
        yield b"data: [DONE]\n\n"


def _rest(text: str, prefix: str) -> str:
    """Return the rest of a text; after the answer marker, wherever that is, the answer."""
    start = prefix.find("Answer:")
    if start >= 0:
        return f"Answer: {ANSWER}"[len(prefix) - start :]
    return text[len(prefix) :]


def _question(messages: list[Json]) -> str:
    """Return the text of the first message of the user."""
    content = next(one["content"] for one in messages if one["role"] == "user")
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _event(delta: Json, finish: str | None) -> bytes:
    return (
        f"data: {json.dumps({'choices': [{'delta': delta, 'finish_reason': finish}]})}\n\n".encode()
    )


def main() -> None:
    """Serve until the process ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--token-seconds", type=float, default=0.005)
    options = parser.parse_args()
    model = Model(options.token_seconds)
    routes = [
        Route("/v1/models", model.models),
        Route("/v1/chat/completions", model.chat, methods=["POST"]),
    ]
    uvicorn.run(Starlette(routes=routes), port=options.port, log_level="error", lifespan="off")


if __name__ == "__main__":
    main()
