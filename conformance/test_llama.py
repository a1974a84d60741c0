"""A language model of another family on llama.cpp: text only, without a dreamr folder."""

from __future__ import annotations

import anyio
import pytest

from dreamr.conversation import Conversation
from dreamr.engines import Context, SamplingParams
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.engines.http.servers import LLAMA_CPP
from dreamr.runner import RunConfig, run
from dreamr.schedules import ScheduleConfig
from dreamr.steps import StepFormat, StepSplitter

pytestmark = pytest.mark.server
QUESTION = Conversation.from_prompt("Name three fruits, and say one sentence about each.")


async def opened(url: str) -> HttpEngine:
    return await HttpEngine.open(HttpOptions(url=url))


def test_its_template_continues_a_prefix_unchanged(llama_url: str) -> None:
    async def work() -> None:
        async with await opened(llama_url) as engine:
            assert engine.server_info.server is LLAMA_CPP
            assert engine.server_info.exact
            assert engine.server_info.shown
            stream = engine.stream(Context(QUESTION), SamplingParams(max_tokens=40))
            chunks = [chunk.text async for chunk in stream]
            text = "".join(chunks)
            half = "".join(chunks[: len(chunks) // 2])
            stream = engine.stream(Context(QUESTION, (half,)), SamplingParams(max_tokens=40))
            again = half + "".join([chunk.text async for chunk in stream])
            assert again[: len(text)] == text

    anyio.run(work)


def test_a_stream_carries_log_probabilities(llama_url: str) -> None:
    async def work() -> None:
        async with await opened(llama_url) as engine:
            splitter = StepSplitter(StepFormat(delimiter="\n"))
            steps = []
            async for chunk in engine.stream(Context(QUESTION), SamplingParams(80, logprobs=True)):
                steps += splitter.push(chunk.text, chunk.tokens, chunk.logprob, chunk.min_logprob)
            assert steps
            for step in steps:
                assert step.logprob is not None
                assert step.min_logprob is not None
                assert step.logprob <= step.min_logprob <= 0

    anyio.run(work)


def test_it_judges_with_the_default_prompt(llama_url: str) -> None:
    async def work() -> None:
        async with await opened(llama_url) as engine:
            assert engine.capabilities.judge
            found = await engine.judge(Context(QUESTION), ["An apple is a fruit.\n\n"] * 2)
            assert all(0 <= evidence.mass <= 1 for evidence in found)
            assert len(found) == 2

    anyio.run(work)


def test_a_closed_stream_ends_at_the_server(llama_url: str) -> None:
    async def work() -> None:
        async with await opened(llama_url) as engine:
            stream = engine.stream(Context(QUESTION), SamplingParams(max_tokens=500))
            await anext(stream)
            assert await engine.running() == 1
            await stream.aclose()
            with anyio.fail_after(5):
                while await engine.running():
                    await anyio.sleep(0.05)

    anyio.run(work)


def test_a_run_over_it_ends_and_commits_what_it_wrote(llama_url: str) -> None:
    async def work() -> None:
        async with await opened(llama_url) as engine:
            settings = RunConfig(
                options=ScheduleConfig(max_tokens=160),
                step_format=StepFormat(delimiter="\n"),
                method="fpsr",
            )
            result = await run(QUESTION, target=engine, draft=engine, config=settings)
            assert result.answer
            assert result.usage

    anyio.run(work)
