"""Thousands of random request bodies."""

from __future__ import annotations

import gc
import json
import random
import tracemalloc
from typing import Any

import pytest

from support.gateways import Gateway, asked, use

BODIES = 3_000
GROWTH = 200_000  # bytes over the second half: what a leak of even 100 a request would break
PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WORDS = (
    None, True, False, 0, 1, -1, 2**63, 1e308, "", "x", "dreamr", "user", "\u0000", "é" * 50,
    "\ud800", [], {}, [[]], {"type": "text"}, {"type": "image_url"}, {"url": PNG}, PNG, "data:,x",
    "http://127.0.0.1/", {"type": "image_url", "image_url": {"url": PNG}},
    {"type": "text", "text": "hi"}, [{"role": "user", "content": "hi"}],
)  # fmt: skip
NAMES = (
    "model", "messages", "role", "content", "type", "text", "image_url", "url", "stream", "stop",
    "stream_options", "include_usage", "max_tokens", "temperature", "top_p", "seed", "n", "tools",
    "dreamr", "method", "window", "threshold", "deadline", "events", "other",
)  # fmt: skip


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


def bodies(draws: random.Random) -> Any:
    plain = asked(
        [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": PNG}}],
        stream=True, stream_options={"include_usage": True}, max_tokens=5, temperature=0.5,
        stop=["x"], dreamr={"method": "fpsr", "window": 2, "events": True},
    )  # fmt: skip
    for _ in range(BODIES):
        raw = json.dumps(changed(plain, draws, draws.choice((0.01, 0.05, 0.2)))).encode()
        match draws.randrange(8):
            case 0:
                cut = draws.randrange(len(raw) + 1)
                raw = raw[:cut]
            case 1:
                place = draws.randrange(len(raw) or 1)
                raw = raw[:place] + draws.randbytes(draws.randrange(1, 4)) + raw[place + 1 :]
        yield raw


@pytest.mark.slow
def test_thousands_of_random_bodies_cause_no_500_and_no_leak() -> None:
    async def work(gate: Gateway) -> None:
        statuses: dict[int, int] = {}
        half = 0
        for number, raw in enumerate(bodies(random.Random(1))):
            found = await gate.ask(raw)
            statuses[found.status] = statuses.get(found.status, 0) + 1
            assert found.status < 500, raw
            assert found.ended
            if number == BODIES // 2:
                gc.collect()
                tracemalloc.start()
                half = tracemalloc.get_traced_memory()[0]
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - half
        tracemalloc.stop()
        assert gate.open_streams == 0
        assert grown < GROWTH
        assert statuses[200] > 300
        assert statuses[400] > 300

    use(work, bound=300)
