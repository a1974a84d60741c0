"""The clients of soak.py, by kinds, and what they must get."""

from __future__ import annotations

import json
import random
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import anyio
import httpx2
from dreamr_testbed import RECEIPT
from scripted_server import ANSWER, script
from soak_processes import DEADLINE, Gateway

from dreamr.conversation import Image, Part, Text, thumbnail
from dreamr.evaluation.tasks import load

HANGING = 30.0  # seconds after the deadline at which a request counts as hanging
HASTE = 0.3  # seconds that hasty clients have
REFUSALS = {429, 502, 503, 504}  # the statuses of errors that are not the client's
Json = dict[str, Any]
Check = Callable[[Gateway, str, httpx2.AsyncClient, Json, str], Awaitable[str]]


def _error(status: int, body: Json, allowed: set[int]) -> str:
    """Return the outcome of an error response.

    Raises:
        AssertionError: If it has another form or status than it may have.
    """
    error = body.get("error")
    assert isinstance(error, dict), f"an error without the usual form: {body}"
    assert error.get("message"), f"an error without a message: {body}"
    assert status in allowed, f"status {status}: {error['message']}"
    return f"{status} {error.get('code') or ''}".strip()


def _complete(question: str, exact: bool, reasoning: str, answer: str, finish: str) -> str:
    """Return the outcome of a complete answer.

    Raises:
        AssertionError: If it is empty or not what the model writes.
    """
    assert answer, f"an empty answer to {question!r}, finish reason {finish}"
    if exact:
        assert answer == ANSWER, f"another answer: {answer!r}"
        expected = script(question).removesuffix(f"Answer: {ANSWER}")
        assert reasoning == expected, f"another text: {reasoning!r}"
    return "answered"


async def whole(gate: Gateway, kind: str, client: httpx2.AsyncClient, body: Json, text: str) -> str:
    """Send a request without streaming."""
    response = await client.post("/v1/chat/completions", json=body)
    if response.status_code != 200:
        if response.status_code == 429:
            assert response.headers.get("retry-after"), "status 429 without Retry-After"
        allowed = {400} if kind == "invalid" else REFUSALS
        return _error(response.status_code, response.json(), allowed)
    assert kind != "invalid", "an invalid request was answered"
    choice = response.json()["choices"][0]
    message, finish = choice["message"], choice["finish_reason"]
    exact = gate.name == "servers" and kind != "hasty"
    return _complete(text, exact, message["reasoning_content"], message["content"], finish)


async def streamed(
    gate: Gateway, kind: str, client: httpx2.AsyncClient, body: Json, text: str
) -> str:
    """Send a request with streaming; some clients leave early or read slowly."""
    texts = {"reasoning_content": "", "content": ""}
    ended, finish = False, ""
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        if response.status_code != 200:
            await response.aread()
            return _error(response.status_code, response.json(), REFUSALS)
        async for line in response.aiter_lines():
            if line == "data: [DONE]":
                ended = True
            elif line.startswith("data: "):
                chunk = json.loads(line[6:])
                if "error" in chunk:
                    return _error(503, chunk, REFUSALS) + " in the stream"
                for choice in chunk["choices"]:
                    finish = choice["finish_reason"] or finish
                    for name in texts:
                        texts[name] += choice["delta"].get(name) or ""
            if kind == "leaving" and texts["reasoning_content"]:
                return "left"
            if kind == "slow":
                await anyio.sleep(0.05)
    assert ended, "a stream without its end"
    assert finish, "a stream without a finish reason"
    reasoning, answer = texts.values()
    return _complete(text, gate.name == "servers", reasoning, answer, finish)


KINDS: dict[str, Check] = {
    "plain": whole,
    "stream": streamed,
    "receipt": whole,
    "leaving": streamed,
    "slow": streamed,
    "invalid": whole,
    "hasty": whole,
    "flood": whole,
}


@cache
def problems() -> list[list[Json]]:
    """Return the parts of problems that the bundled pair was trained for."""
    turns = [item.conversation.turns[-1] for item in load("story", limit=50, seed=1)]
    return [[_part(part) for part in turn.parts] for turn in turns]


def _part(part: Part) -> Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    assert isinstance(part, Image)
    return _image(thumbnail(part))


def _image(content: bytes) -> Json:
    url = f"data:image/png;base64,{b64encode(content).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def request(kind: str, draws: random.Random) -> tuple[Json, str]:
    """Return the body of a request and the text of its question."""
    content = draws.choice(problems())
    if kind == "receipt":
        text = "What do tea and milk cost together?"
        content = [_image(RECEIPT.read_bytes()), {"type": "text", "text": text}]
    body: Json = {"model": "dreamr", "messages": [{"role": "user", "content": content}]}
    body["stream"] = KINDS[kind] is streamed
    if kind == "invalid":
        body |= draws.choice(
            [{"top_p": 2}, {"messages": []}, {"temperature": "hot"}, {"max_tokens": -1}]
        )
    if kind == "hasty":
        body["dreamr"] = {"deadline": HASTE}
    return body, "".join(part.get("text", "") for part in content)


async def use(gate: Gateway, kind: str, seed: int, end: float) -> None:
    """Send requests of one kind until a time."""
    draws = random.Random(seed)
    key = "flood" if kind == "flood" else "usual"
    async with httpx2.AsyncClient(
        base_url=gate.url, headers={"Authorization": f"Bearer {key}"}, timeout=DEADLINE + HANGING
    ) as client:
        while time.monotonic() < end:
            body, text = request(kind, draws)
            began = time.monotonic()
            try:
                with anyio.fail_after(DEADLINE + HANGING):
                    outcome = await KINDS[kind](gate, kind, client, body, text)
            except Exception as error:  # all else is a fault of the gateway
                outcome = "FAULT"
                gate.faults.append(f"{kind}: {type(error).__name__}: {error}"[:400])
            gate.note(kind, outcome, time.monotonic() - began)
            if kind == "hasty" and outcome == "answered":
                gate.late.append(time.monotonic() - began - HASTE)
            await anyio.sleep(draws.uniform(0, 0.05 if kind == "flood" else 1.0))
