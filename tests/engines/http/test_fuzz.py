"""Servers that change their own good responses: the text, an explicit error, never a wrong text.

A longer run with another seed:

    DREAMR_FUZZ_RESPONSES=10000 DREAMR_FUZZ_SEED=1 pytest tests/engines/http/test_fuzz.py
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from typing import Any

import anyio
import httpx2
import pytest

from dreamr.conversation import Conversation
from dreamr.engines import Context, SamplingParams
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.errors import DreamrError
from support.mutations import ERRORS, JUNK, mutated, mutated_answer
from support.raw_served import Json, RawServed

SCRIPT = "Tea costs 2.\n\nMilk costs 3 €, 茶🍵.\n\nBoth cost 5.\n\nAnswer: 5"
PREFIXES = ("", "Tea costs 2.\n\n", "Tea costs 2.\n\nMilk", SCRIPT)
TALK = Conversation.from_prompt("What do tea and milk cost?")
RESPONSES = int(os.environ.get("DREAMR_FUZZ_RESPONSES", "600"))
SEED = int(os.environ.get("DREAMR_FUZZ_SEED", "0"))


pytestmark = pytest.mark.usefixtures("no_pauses")


async def read(engine: HttpEngine, rng: random.Random) -> str:
    """Read one text; return what became of it."""
    prefix = rng.choice(PREFIXES)
    most = rng.choice([3, 100, 100, 100])
    sampling = SamplingParams(max_tokens=most, logprobs=rng.random() < 0.3)
    text, finish = prefix, None
    try:
        async for chunk in engine.stream(Context(TALK, (prefix,) if prefix else ()), sampling):
            text += chunk.text
            finish = chunk.finish
    except DreamrError:
        finish = "error"
    assert SCRIPT.startswith(text), text
    assert finish != "stop" or text == SCRIPT, text
    return str(finish)


async def streams(seed: int, responses: int) -> Counter[str]:
    rng, outcomes, count = random.Random(seed), Counter[str](), 0
    while count < responses:
        served = RawServed(SCRIPT, lambda number, found: mutated(rng, found))
        options = HttpOptions(url="http://here", retries=rng.choice([0, 1, 3]))
        async with await HttpEngine.open(options, served.transport) as engine:
            for _ in range(rng.choice([1, 5])):
                outcomes[await read(engine, rng)] += 1
        count += len(served.streamed)
    return outcomes


def test_no_mutated_response_leads_to_a_wrong_text() -> None:
    outcomes = anyio.run(streams, SEED, RESPONSES)
    print(outcomes)
    assert set(outcomes) == {"stop", "length", "error"}
    assert outcomes["stop"] > outcomes["error"] / 2


def test_no_mutated_response_speaks_for_a_step() -> None:
    async def main() -> Counter[bool]:
        rng, judged = random.Random(SEED), Counter[bool]()
        served = RawServed(SCRIPT)
        options = HttpOptions(url="http://here", retries=0)
        async with await HttpEngine.open(options, served.transport) as engine:
            served.answer = lambda found: mutated_answer(rng, found)
            for _ in range(RESPONSES // 2):
                try:
                    [evidence] = await engine.judge(Context(TALK), ["Two.\n\n"])
                except DreamrError:
                    judged[False] += 1
                    continue
                assert 0.0 <= evidence.positive <= 0.91
                assert evidence.ratio <= 0.91
                judged[True] += 1
        return judged

    judged = anyio.run(main)
    assert judged[True]
    assert judged[False]


class Probed(RawServed):
    """A server that puts junk into the responses of a probe."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        models: list[Any] = [{"data": [{"id": "tiny", "owned_by": "vllm"}]}] * 5
        super().__init__(SCRIPT, models=self.rng.choice([*models, *JUNK, *ERRORS]))
        self.answer = lambda found: mutated_answer(self.rng, found)

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("tokenize"):
            found: list[Json] = [{"tokens": one} for one in JUNK] + [
                {"prompt": one} for one in JUNK
            ]
            return httpx2.Response(200, text=json.dumps(self.rng.choice([*found, *JUNK, *ERRORS])))
        return await super().handle(request)


@pytest.mark.parametrize("seed", range(60))
def test_no_response_to_a_probe_leads_to_another_exception(seed: int) -> None:
    async def main() -> None:
        options = HttpOptions(url="http://here", retries=0)
        async with await HttpEngine.open(options, Probed(seed).transport) as engine:
            await engine.count(TALK)

    try:
        anyio.run(main)
    except DreamrError as error:
        str(error).encode()
