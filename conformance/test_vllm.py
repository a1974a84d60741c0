"""The embedded pair served by vLLM behaves as in the local engine."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from dreamr_testbed.suites import SUITES

from dreamr import RunOptions
from dreamr.cli import main
from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines import Context, Engine, SamplingParams, open_model
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.evaluation.tasks import Item, load
from dreamr.gate import CascadeGate, Query, RatioGate, StepContext
from dreamr.runner import RunConfig, run
from dreamr.schedules import ScheduleConfig
from dreamr.steps import Step, StepFormat, StepSplitter

pytestmark = pytest.mark.server
PROBLEMS = 50
DIFFERENCE = 1e-3  # largest between probabilities of one model, in float32 on other kernels
SEED = 70_000
ANSWER_MARKER = "Answer:"


def problems(count: int) -> list[Item]:
    each = -(-count // len(SUITES))
    items = [item for task in SUITES for item in load(task, limit=each, seed=SEED)]
    return items[:count]


@asynccontextmanager
async def served(url: str) -> AsyncIterator[HttpEngine]:
    engine = await HttpEngine.open(HttpOptions(url=url, judge_prompt="Judge"))
    async with engine:
        yield engine


@asynccontextmanager
async def both(role: str, url: str) -> AsyncIterator[tuple[HttpEngine, Engine]]:
    source = RunOptions(dtype="float32").source("target" if role == "target" else "draft")
    local = (await open_model(source)).engine
    try:
        async with served(url) as engine:
            yield engine, local
    finally:
        await local.aclose()


async def written(engine: Engine, conversation: Conversation) -> str:
    stream = engine.stream(Context(conversation), SamplingParams())
    return "".join([chunk.text async for chunk in stream])


def steps_of(text: str) -> list[Step]:
    splitter = StepSplitter(StepFormat())
    steps = splitter.push(text, 0)
    last = splitter.finish(truncated=False)
    return [*steps, *([last] if last else [])]


def test_the_target_writes_the_same_text_and_gives_the_same_verdicts(target_url: str) -> None:
    async def work() -> None:
        gate, other = RatioGate(), []
        async with both("target", target_url) as (engine, local):
            for item in problems(PROBLEMS):
                own = await written(local, item.conversation)
                if await written(engine, item.conversation) != own:
                    other.append(item.id)
                steps = steps_of(own)[:-1]
                context, texts = Context(item.conversation), [step.text for step in steps]
                pairs = zip(
                    steps,
                    await engine.judge(context, texts),
                    await local.judge(context, texts),
                    strict=True,
                )
                for step, theirs, ours in pairs:
                    assert abs(theirs.positive - ours.positive) < DIFFERENCE
                    assert abs(theirs.negative - ours.negative) < DIFFERENCE
                    at = StepContext(step, 0)
                    assert gate.decide(theirs, at).accepted is gate.decide(ours, at).accepted
        assert not other

    anyio.run(work)


def test_the_draft_writes_the_same_text(draft_url: str) -> None:
    async def work() -> None:
        async with both("draft", draft_url) as (engine, local):
            for item in problems(PROBLEMS):
                own = await written(local, item.conversation)
                assert await written(engine, item.conversation) == own, item.id

    anyio.run(work)


async def steps_with_logprobs(engine: Engine, conversation: Conversation) -> list[Step]:
    splitter, steps = StepSplitter(StepFormat()), []
    async for chunk in engine.stream(Context(conversation), SamplingParams(logprobs=True)):
        steps += splitter.push(chunk.text, chunk.tokens, chunk.logprob, chunk.min_logprob)
    last = splitter.finish()
    return [*steps, *([last] if last else [])]


def test_the_draft_gives_its_steps_the_same_probabilities(draft_url: str) -> None:
    """A busy server sends several tokens at once; both of two steps then have the lower one."""

    async def work() -> None:
        async with both("draft", draft_url) as (engine, local):
            for item in problems(9):
                own = await steps_with_logprobs(local, item.conversation)
                found = await steps_with_logprobs(engine, item.conversation)
                least = [
                    (lowest(here), lowest(there)) for here, there in zip(own, found, strict=True)
                ]
                assert all(there - here < DIFFERENCE for here, there in least), item.id
                ours, theirs = (min(each) for each in zip(*least, strict=True))
                assert abs(ours - theirs) < DIFFERENCE, item.id

    anyio.run(work)


def lowest(step: Step) -> float:
    """Return the lowest probability of a token of the step."""
    assert step.min_logprob is not None, step
    return math.exp(step.min_logprob)


def test_a_confident_draft_answers_without_the_target(target_url: str, draft_url: str) -> None:
    async def work() -> None:
        async with served(target_url) as target, served(draft_url) as draft:
            options = ScheduleConfig(deterministic=True, final_answer="draft", fallback="on-reject")
            settings = RunConfig(options=options, gate=CascadeGate(draft_confidence=0.9))
            unseen = 0
            for item in problems(9):
                result = await run(item.conversation, target=target, draft=draft, config=settings)
                assert result.finish == "answer"
                unseen += result.usage.judge_calls == 0 and result.usage.target.written == 0
            assert unseen >= 5

    anyio.run(work)


def test_a_wrong_step_is_refused(target_url: str) -> None:
    async def work() -> None:
        async with served(target_url) as engine:
            [item] = load("docmath", limit=1, seed=SEED)
            steps = steps_of(await written(engine, item.conversation))
            wrong = [
                step.text.translate(str.maketrans("123456789", "234567891")) for step in steps[:-1]
            ]
            found = await engine.judge(Context(item.conversation), wrong)
            assert min(evidence.ratio for evidence in found) < 0.3

    anyio.run(work)


def test_prompts_hit_the_prefix_cache_from_the_second_step_on(target_url: str) -> None:
    """The prompt is as long as with a real image; the pair's own images take 36 tokens."""

    async def work() -> None:
        async with served(target_url) as engine:
            [item] = load("vqa", limit=1, seed=SEED)
            asked = item.conversation.turns[0]
            longer = Turn("user", (Text("So it is and so it was. " * 40), *asked.parts))
            context = Context(Conversation((longer,)))
            steps = steps_of(await written(engine, item.conversation))[:-1]
            for number, step in enumerate(steps):
                prompt, cached = engine.prompt_tokens, engine.cached_tokens
                done = tuple(each.text for each in steps[:number])
                await engine.judge(Context(context.conversation, done), [step.text])
                share = (engine.cached_tokens - cached) / (engine.prompt_tokens - prompt)
                assert number == 0 or share > 0.8

    anyio.run(work)


def test_a_forgotten_conversation_misses_the_prefix_cache(target_url: str) -> None:
    async def work() -> None:
        async with served(target_url) as engine:
            [item] = load("story", limit=1, seed=SEED)
            for _ in range(2):
                await engine.judge(Context(item.conversation), ["Panel 1: so it is.\n\n"])
            assert engine.cached_tokens > 0
            engine.forget(item.conversation)
            cached = engine.cached_tokens
            await engine.judge(Context(item.conversation), ["Panel 1: so it is.\n\n"])
            assert engine.cached_tokens == cached

    anyio.run(work)


def test_a_closed_stream_ends_at_the_server(target_url: str) -> None:
    async def work() -> None:
        async with served(target_url) as engine:
            # At a high temperature the model rarely ends its text by itself.
            sampling = SamplingParams(max_tokens=400, temperature=2.0)
            stream = engine.stream(Context(Conversation.from_prompt("What is it?")), sampling)
            await anext(stream)
            assert await engine.running() == 1
            await stream.aclose()
            end = time.monotonic() + 10.0
            while (left := await engine.running()) and time.monotonic() < end:
                await anyio.sleep(0.02)
            assert left == 0

    anyio.run(work)


def test_runs_over_both_servers_give_the_answers_of_the_target(
    target_url: str, draft_url: str
) -> None:
    async def work() -> None:
        async with served(target_url) as target, served(draft_url) as draft:
            # Without it, a target as fast as the draft often commits its own steps first.
            settings = RunConfig(options=ScheduleConfig(deterministic=True))
            accepted = 0
            for item in problems(9):
                result = await run(item.conversation, target=target, draft=draft, config=settings)
                text = await written(target, item.conversation)
                assert result.answer == text.rpartition(ANSWER_MARKER)[2].strip()
                accepted += sum(step.source == "draft" for step in result.steps)
            assert accepted > 9 * 3

    anyio.run(work)


def test_the_doctor_finds_nothing_wrong(
    target_url: str, draft_url: str, capsys: object, tmp_path: Path
) -> None:
    command = ["doctor", "--target", target_url, "--draft", draft_url, "--judge-prompt", "Judge"]
    assert main([*command, "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()  # type: ignore[attr-defined]
    findings = [json.loads(line) for line in lines]
    assert {one["state"] for one in findings} == {"ok"}


def test_the_doctor_knows_why_a_server_with_ngram_speculation_refuses_labels(
    speculating_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ["--target", speculating_url, "--draft", speculating_url]
    assert main(["doctor", *models, "--judge-prompt", "Judge", "--json"]) == 0
    findings = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [judging] = [one for one in findings if one["about"] == "judging"]
    assert judging["state"] == "ok"
    assert "labels are read from the 20 most likely tokens" in judging["what"]
    assert "n-gram speculation" in judging["what"]
    # A model that is its own draft, on a busy machine, may be reported as too slow.
    assert {one["state"] for one in findings} <= {"ok", "degraded"}


def test_ngram_speculation_changes_neither_texts_nor_verdicts(speculating_url: str) -> None:
    async def work() -> None:
        async with both("target", speculating_url) as (engine, local):
            for item in problems(9):
                own = await written(local, item.conversation)
                assert await written(engine, item.conversation) == own, item.id
                context, texts = Context(item.conversation), [step.text for step in steps_of(own)]
                pairs = zip(
                    await engine.judge(context, texts[:-1]),
                    await local.judge(context, texts[:-1]),
                    strict=True,
                )
                assert all(abs(one.ratio - other.ratio) < DIFFERENCE for one, other in pairs)

    anyio.run(work)


def test_a_window_is_refused_by_the_v1_runner_which_lives_on(target_url: str) -> None:
    async def work() -> None:
        async with served(target_url) as engine:
            able = engine.capabilities
            assert "V2 model runner" in able.window_problem
            assert not able.windows
            [item] = load("docmath", limit=1, seed=SEED)
            steps = [step.text for step in steps_of(await written(engine, item.conversation))[:-1]]
            context = Context(item.conversation)
            together = await engine.judge(context, steps, Query(window=True))
            assert together == await engine.judge(context, steps)
            await engine.check()

    anyio.run(work)


def test_the_block_of_the_prefix_cache_is_read_from_the_metrics(target_url: str) -> None:
    async def work() -> None:
        async with served(target_url) as engine:
            assert engine.capabilities.cache_block == 32  # as scripts/engines/serve-vllm sets it

    anyio.run(work)
