"""Emulated servers behave as a vLLM server does to the engine, and take the stated time."""

from __future__ import annotations

import asyncio
import selectors
from contextlib import aclosing

import httpx2
import pytest
from dreamr_testbed.emulator import Batching, Chain, Chains, PrefixCache, Rates, build_app
from dreamr_testbed.emulator.chains import split_tokens

from dreamr.conversation import Conversation
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.engines.protocol import Context, SamplingParams

COMMON = Chains(acceptance=0.5)
CHAIN = Chain(7, COMMON)
TALK = Conversation.from_prompt("Emulated problem 7.")


def engine() -> HttpEngine:
    transport = httpx2.ASGITransport(build_app("target", COMMON, Rates(0.0)))
    return HttpEngine(HttpOptions("http://emulated/v1"), transport)


def test_an_engine_continues_prefixes_exactly_and_judges_steps() -> None:
    async def check() -> None:
        async with engine() as target:
            assert target.server_info.exact
            assert target.server_info.judges
            first = CHAIN.step("target", 0)
            chunks = [
                chunk.text
                async for chunk in target.stream(Context(TALK, (first,)), SamplingParams())
            ]
            assert first + "".join(chunks) == CHAIN.continuation("target", "")
            wrong = first.replace(" makes ", " makes 1")
            right, not_right = await target.judge(Context(TALK), [first, wrong])
            assert right.positive > 0.9
            assert not_right.positive < 0.1

    asyncio.run(check())


def test_a_prompt_is_prefilled_once_and_salts_keep_prompts_apart() -> None:
    cache = PrefixCache(block=4)
    tokens = split_tokens("one two three four five six seven eight nine")
    assert cache.cached(tokens) == 0
    cache.add(tokens)
    assert cache.cached(tokens) == 8
    assert cache.cached([*tokens[:6], " other", *tokens[7:]]) == 4
    assert cache.cached(tokens, salt="other") == 0


def test_the_least_recently_used_blocks_are_dropped() -> None:
    cache = PrefixCache(block=1, capacity=3)
    cache.add(["a", "b"])
    cache.add(["c", "d"])
    assert cache.cached(["c", "d", "e"]) == 2
    assert cache.cached(["a", "b", "e"]) == 0


class Jumping(selectors.SelectSelector):
    """A selector that does not wait: its clock jumps to the end of each wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


def virtual() -> asyncio.AbstractEventLoop:
    """An event loop in virtual time."""
    selector = Jumping()
    loop = asyncio.SelectorEventLoop(selector)
    setattr(loop, "time", lambda: selector.now)  # noqa: B010
    return loop


async def seconds(batching: Batching, prompt: list[str], count: int) -> float:
    began = asyncio.get_running_loop().time()
    async with aclosing(batching.write(prompt, ["x"] * count)) as tokens:
        async for _ in tokens:
            pass
    return asyncio.get_running_loop().time() - began


def test_tokens_prompts_and_batches_take_the_stated_time() -> None:
    async def check() -> None:
        batching = Batching(Rates(token=1.0, reading=0.01, block=1))
        prompt = [f"p{n}" for n in range(101)]
        assert await seconds(batching, prompt, 3) == pytest.approx(1.0 + 1.0 + 2.0)
        assert await seconds(batching, prompt, 3) == pytest.approx(3.0)  # from the cache
        both = await asyncio.gather(*(seconds(batching, prompt, 3) for _ in range(2)))
        assert both == [pytest.approx(3.03)] * 2
        await batching.aclose()

    with asyncio.Runner(loop_factory=virtual) as runner:
        runner.run(check())


def test_a_closed_stream_leaves_the_batch() -> None:
    async def check() -> None:
        batching = Batching(Rates(token=1.0))
        async with aclosing(batching.write(["p"], ["x"] * 100)) as tokens:
            await anext(tokens)
            assert batching.running == 1
        assert batching.running == 0
        await batching.aclose()

    with asyncio.Runner(loop_factory=virtual) as runner:
        runner.run(check())


@pytest.mark.parametrize(("block", "coarse"), [(16, False), (528, True)])
def test_an_engine_knows_the_blocks_of_the_prefix_cache(block: int, coarse: bool) -> None:
    async def check() -> None:
        app = build_app("target", COMMON, Rates(0.0, block=block))
        options = HttpOptions("http://emulated/v1")
        async with HttpEngine(options, httpx2.ASGITransport(app)) as target:
            assert target.capabilities.cache_block == block
            assert target.capabilities.coarse_cache is coarse

    asyncio.run(check())
