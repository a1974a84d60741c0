"""Gates decide over vLLM as they do over the local engine."""

from __future__ import annotations

import anyio
import pytest
from dreamr_testbed.suites import SUITES

from dreamr import RunOptions
from dreamr.engines import Context, Engine, SamplingParams, open_model
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.evaluation.tasks import Item, load
from dreamr.gate import AdaptiveGate, CascadeGate, Gate, LikelihoodGate, StepContext, TolerantGate
from dreamr.runner import RunConfig, run
from dreamr.schedules import ScheduleConfig
from dreamr.steps import Role, Step, StepFormat, StepSplitter
from dreamr.trace import Result

pytestmark = pytest.mark.server
DIFFERENCE = 1e-3
SEED = 71_000
GATES = [
    LikelihoodGate(0.95),
    CascadeGate(0.7, target_confidence=0.3),
    AdaptiveGate(0.7),
    TolerantGate(0.6),
]


def problems(each: int) -> list[Item]:
    return [item for task in SUITES for item in load(task, limit=each, seed=SEED)]


async def local(role: Role) -> Engine:
    return (await open_model(RunOptions(dtype="float32").source(role))).engine


def opened(url: str) -> HttpEngine:
    return HttpEngine(HttpOptions(url=url, judge_prompt="Judge"))


async def drafted(engine: Engine, item: Item, *, entropy: bool = False) -> list[Step]:
    splitter, steps = StepSplitter(StepFormat()), []
    sampling = SamplingParams(300, entropy=entropy)
    async for chunk in engine.stream(Context(item.conversation), sampling):
        steps += splitter.push(
            chunk.text, chunk.tokens, chunk.logprob, chunk.min_logprob, chunk.entropy
        )
    return steps


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: type(gate).__name__)
def test_margins_and_decisions_about_drafted_steps_are_those_of_the_local_engine(
    gate: Gate, target_url: str
) -> None:
    async def work() -> None:
        accepted = rejected = 0
        ours, draft = await local("target"), await local("draft")
        async with opened(target_url) as engine:
            for item in problems(4):
                steps = await drafted(draft, item)
                texts, context = [step.text for step in steps], Context(item.conversation)
                there = await engine.judge(context, texts, gate.query)
                here = await ours.judge(context, texts, gate.query)
                for step, one, other in zip(steps, there, here, strict=True):
                    for name in ("mean_margin", "min_margin", "surest_mismatch"):
                        gap = abs(getattr(one, name) - getattr(other, name))
                        assert gap < DIFFERENCE, (item.id, name, step.text)
                    counts = [(each.tokens, each.matched_tokens) for each in (one, other)]
                    assert counts[0] == counts[1]
                    verdict = gate.decide(one, StepContext(step, 0))
                    assert verdict.accepted is gate.decide(other, StepContext(step, 0)).accepted
                    accepted += verdict.accepted
                    rejected += not verdict.accepted
        for local_engine in (ours, draft):
            await local_engine.aclose()
        assert accepted
        assert rejected or isinstance(gate, AdaptiveGate)

    anyio.run(work)


@pytest.mark.parametrize("gate", GATES[:2], ids=lambda gate: type(gate).__name__)
def test_runs_commit_the_same_steps(gate: Gate, target_url: str, draft_url: str) -> None:
    async def committed(target: Engine, draft: Engine, item: Item) -> list[tuple[str, str]]:
        options = ScheduleConfig(deterministic=True)
        config = RunConfig(options=options, gate=gate)
        result: Result = await run(item.conversation, target=target, draft=draft, config=config)
        return [(step.source, step.step.text) for step in result.steps]

    async def work() -> None:
        ours = await local("target"), await local("draft")
        async with opened(target_url) as target, opened(draft_url) as draft:
            for item in problems(3):
                here = await committed(*ours, item)
                assert await committed(target, draft, item) == here, item.id
        for engine in ours:
            await engine.aclose()

    anyio.run(work)


def test_the_draft_is_as_certain_of_first_tokens(draft_url: str) -> None:
    """A busy server sends the end of a step and the next token at once; that one is unknown."""

    async def work() -> None:
        ours, known = await local("draft"), 0
        async with opened(draft_url) as engine:
            for item in problems(3):
                there = await drafted(engine, item, entropy=True)
                here = await drafted(ours, item, entropy=True)
                for one, other in zip(there, here, strict=True):
                    assert other.entropy is not None
                    if one.entropy is None:
                        continue
                    known += 1
                    # Servers list twenty tokens; the others count as one.
                    assert other.entropy - 0.05 < one.entropy < other.entropy + DIFFERENCE
        await ours.aclose()
        assert known

    anyio.run(work)


def test_a_prompt_may_be_scored_while_others_are_read_from_the_cache(target_url: str) -> None:
    """Scores of given tokens do not use the prefix cache; the server must survive the mixture."""

    async def work() -> None:
        async with opened(target_url) as engine:
            [item] = load("docmath", limit=1, seed=SEED)
            context, steps = Context(item.conversation), ["Needed: A.\n\n"] * 3
            likely, asked = LikelihoodGate().query, RunOptions().run_config().gate.query
            async with anyio.create_task_group() as tasks:
                for query in (likely, asked) * 4:
                    tasks.start_soon(engine.judge, context, steps, query)
            assert all(one.asked for one in await engine.judge(context, steps, asked))

    anyio.run(work)
