"""Whole runs over scripted engines."""

from __future__ import annotations

import gc
import math
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import anyio
import pytest

from dreamr.conversation import Conversation, Image, Text, Turn
from dreamr.engines import Capabilities, Chunk, Context, SamplingParams, ScriptedEngine
from dreamr.errors import RunFailed, Unsupported
from dreamr.gate import CascadeGate, Evidence
from dreamr.runner import RunConfig, open_run, run
from dreamr.schedules import ScheduleConfig
from dreamr.trace import (
    Event,
    JudgeEnded,
    LaneClosed,
    LaneOpened,
    Result,
    RunFinished,
    RunStarted,
    StepCommitted,
    StepDiscarded,
    StepReady,
    StepRejected,
    usage_of,
)
from support.runs import DRAFT, INF, METHODS, OPINION, TALK, TARGET, draft, go, notes, target, texts


@pytest.mark.parametrize("method", METHODS)
def test_right_drafts_are_committed_and_wrong_ones_replaced(method: str) -> None:
    result = go(target(), draft(), method)
    assert texts(result) == [DRAFT[0], DRAFT[1], TARGET[2], TARGET[3]]
    assert [c.source for c in result.steps] == ["draft", "draft", "target", "target"]
    assert [c.verdict.score for c in result.steps if c.verdict] == [0.9, 0.8]
    assert (result.answer, result.finish, result.complete) == ("3", "answer", True)
    assert result.text == "".join(texts(result))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("answer", ["Answer: 3", "So it is 3."])
def test_the_step_that_ends_the_reasoning_is_marked_as_last(method: str, answer: str) -> None:
    result = go(target(script=[*TARGET[:-1], answer]), draft(), method)
    committed = [event for event in result.events if isinstance(event, StepCommitted)]
    assert [event.last for event in committed] == [False, False, False, True]


def test_a_closed_lane_has_the_time_of_its_first_text() -> None:
    result = go(target(token_seconds=0.002), method="target")
    [opened] = [event for event in result.events if isinstance(event, LaneOpened)]
    [closed] = [event for event in result.events if isinstance(event, LaneClosed)]
    first = next(event for event in result.events if isinstance(event, StepReady))
    assert closed.began is not None
    assert opened.time < closed.began < first.time


def test_the_target_alone_writes_everything_in_one_stream() -> None:
    big = target()
    result = go(big, method="target")
    assert texts(result) == TARGET
    assert big.streams == 1
    assert result.usage.target.kept == result.usage.target.written == big.written
    assert result.usage.judge_calls == 0


@pytest.mark.parametrize("method", METHODS)
def test_every_token_of_both_models_is_counted_once(method: str) -> None:
    big, small = target(), draft()
    usage = go(big, small, method).usage
    assert usage.draft.written == small.written
    assert usage.target.written == big.written
    assert usage.draft.accepted == 6
    assert usage.draft.rejected == 3
    assert usage.judge_calls == big.judgments


def test_the_events_tell_the_whole_story_in_order() -> None:
    events: list[Event] = []
    result = go(target(), draft(), on_event=events.append)
    assert isinstance(events[0], RunStarted)
    assert (events[0].draft, events[0].target, events[0].method) == ("small", "big", "fpsr")
    assert events[0].options["window"] == 8
    assert events[-1] == RunFinished(events[-1].time, result)
    assert tuple(events[:-1]) == result.events
    assert [e.time for e in events] == sorted(e.time for e in events)
    assert usage_of(result.events) == result.usage
    opened = [e.lane for e in events if isinstance(e, LaneOpened)]
    assert sorted(opened) == sorted(e.lane for e in events if isinstance(e, LaneClosed))


def test_the_draft_stays_within_its_window() -> None:
    small = draft(script=[f"step {i}\n\n" for i in range(50)])
    big = target(judge_seconds=INF)
    settings = RunConfig(options=ScheduleConfig(window=3, fallback="on-reject"))

    async def main() -> None:
        async with open_run(TALK, target=big, draft=small, config=settings):
            await anyio.wait_all_tasks_blocked()
            assert small.written == 3 * 2
        assert small.open_streams == 0  # a lane that waits is closed too

    anyio.run(main)


def test_leaving_early_closes_every_lane() -> None:
    big, small = target(), draft()

    async def main() -> None:
        async with open_run(TALK, target=big, draft=small) as events:
            async for event in events:
                if isinstance(event, LaneOpened):
                    break
        assert (big.open_streams, small.open_streams) == (0, 0)

    anyio.run(main)
    gc.collect()  # an unclosed stream or generator would warn here


def test_an_error_of_the_consumer_comes_out_as_it_is() -> None:
    def boom(event: Event) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        go(target(), draft(), on_event=boom)


def test_canceling_from_outside_closes_every_lane() -> None:
    big, small = target(token_seconds=INF), draft(token_seconds=INF)

    async def main() -> None:
        with anyio.move_on_after(0.01) as scope:
            await run(TALK, target=big, draft=small)
        assert scope.cancelled_caught
        assert (big.open_streams, small.open_streams) == (0, 0)

    anyio.run(main)


def test_runs_may_share_their_engines() -> None:
    big, small = target(), draft()
    results: list[Result] = []

    async def one() -> None:
        settings = RunConfig(options=ScheduleConfig(deterministic=True))
        results.append(await run(TALK, target=big, draft=small, config=settings))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(one)

    anyio.run(main)
    assert {result.text for result in results} == {"".join(DRAFT[:2] + TARGET[2:])}


def test_a_verified_draft_may_answer_itself() -> None:
    options = ScheduleConfig(final_answer="draft", deterministic=True)
    result = go(target(opinion=1.0), draft(), options=options)
    assert texts(result) == DRAFT
    assert (result.answer, result.usage.target.kept) == ("4", 0)


def test_steps_above_the_draft_confidence_are_committed_without_the_target() -> None:
    """The draft is unsure of one step only; the target judges that one."""

    def token_probability(token: str) -> float:
        return 0.5 if token.startswith("4") else 0.99

    says = Capabilities(logprobs=True)
    big, small = target(opinion=1.0), draft(token_probability=token_probability, capabilities=says)
    options = ScheduleConfig(final_answer="draft", deterministic=True)
    result = go(big, small, options=options, gate=CascadeGate(draft_confidence=0.9))
    assert texts(result) == DRAFT
    seen = [step.verdict is not None and step.verdict.evidence is not None for step in result.steps]
    assert seen == [False, False, True, True]
    assert result.steps[0].step.min_logprob == pytest.approx(math.log(0.99))
    assert result.steps[2].step.min_logprob == pytest.approx(math.log(0.5))


def test_an_end_without_a_token_does_not_change_the_confidence_of_the_last_step() -> None:
    class Late(ScriptedEngine):
        async def stream(
            self, context: Context, sampling: SamplingParams
        ) -> AsyncGenerator[Chunk, None]:
            async for chunk in super().stream(context, sampling):
                yield replace(chunk, finish=None)
            yield Chunk("", 0, "stop")

    says = Capabilities(logprobs=True)
    small = Late(script=DRAFT, token_probability=lambda token: 1.0, capabilities=says)
    options = ScheduleConfig(final_answer="draft", deterministic=True)
    result = go(target(), small, options=options, gate=CascadeGate(draft_confidence=0.9))
    assert texts(result) == DRAFT
    assert not any(isinstance(event, JudgeEnded) for event in result.events)


def test_a_resample_wins_over_a_slow_target() -> None:
    """The resample has its own seed, and is judged by a stricter gate."""
    seeds: list[SamplingParams] = []

    class Trying(ScriptedEngine):
        async def stream(
            self, context: Context, sampling: SamplingParams
        ) -> AsyncGenerator[Chunk, None]:
            seeds.append(sampling)
            self.script = TARGET if sampling.temperature > 0 else DRAFT
            async for chunk in super().stream(context, sampling):
                yield chunk

    opinion = {DRAFT[0]: 0.1, TARGET[0]: 0.8, TARGET[1]: 0.9}
    big = target(opinion=opinion, token_seconds=0.05)
    options = ScheduleConfig(resamples=2, final_answer="draft")
    result = go(big, Trying(script=DRAFT, name="small"), options=options)
    resampled = [sampling for sampling in seeds if sampling.temperature > 0]
    assert len({sampling.seed for sampling in resampled}) == options.resamples
    assert all(0 <= sampling.seed < 2**31 for sampling in resampled)  # servers take no more
    assert {sampling.temperature for sampling in resampled} == {0.7}
    refused = [event for event in result.events if isinstance(event, StepRejected)]
    first = [(e.step.text, round(e.verdict.threshold, 3)) for e in refused if e.position == 0]
    assert first[:2] == [(DRAFT[0], 0.7), (TARGET[0], 0.85)]  # 0.8 were enough at first


def test_steps_without_log_probabilities_are_judged() -> None:
    result = go(
        target(opinion=1.0),
        draft(capabilities=Capabilities(logprobs=True)),
        gate=CascadeGate(draft_confidence=0.9),
    )
    drafted = [step for step in result.steps if step.source == "draft"]
    assert drafted
    assert all(step.verdict is not None and step.verdict.evidence for step in drafted)


def test_a_drafted_answer_is_left_to_the_target() -> None:
    result = go(target(opinion=1.0), draft())
    assert texts(result) == [*DRAFT[:3], TARGET[3]]
    assert any(isinstance(event, StepDiscarded) for event in result.events)


def test_a_stream_that_forgets_to_finish_has_ended() -> None:
    class Forgetful(ScriptedEngine):
        async def stream(self, context: Context, sampling: SamplingParams) -> Any:
            yield Chunk("Answer: 5", 2)

    assert go(Forgetful(), method="target").answer == "5"


def test_missing_capabilities_are_reported_before_the_run() -> None:
    with pytest.raises(Unsupported, match="needs a draft"):
        go(target())
    with pytest.raises(Unsupported, match="use --gate word"):
        go(target(capabilities=Capabilities(judge=False)), draft())
    with pytest.raises(Unsupported, match="unknown method"):
        go(target(), draft(), "magic")


def test_a_draft_without_image_support_is_not_used_for_images() -> None:
    image = Conversation((Turn("user", (Text("What?"), Image(b"abc", 1, 1))),))
    blind = Capabilities(images=False)
    result = go(target(), draft(capabilities=blind), conversation=image)
    assert texts(result) == TARGET
    assert "accepts text only" in notes(result)
    with pytest.raises(RunFailed, match="accepts text only"):
        go(target(capabilities=blind), method="target", conversation=image)


def test_sampling_comes_from_the_caller_and_lengths_from_the_schedule() -> None:
    seen: dict[str, SamplingParams] = {}

    class Curious(ScriptedEngine):
        def stream(self, context: Context, sampling: SamplingParams) -> Any:
            seen[self.name] = sampling
            return super().stream(context, sampling)

    go(
        Curious(name="big", script=TARGET),
        Curious(name="small", script=DRAFT),
        sampling=SamplingParams(max_tokens=1, seed=7, lookup=10, token_reuse=False),
        draft_sampling=SamplingParams(temperature=0.5),
        options=ScheduleConfig(max_tokens=99, fallback="on-reject"),
    )
    assert (seen["big"].seed, seen["big"].lookup, seen["big"].token_reuse) == (7, 10, False)
    assert seen["small"].temperature == 0.5
    assert seen["small"].max_tokens == 99


def test_only_the_target_uses_prompt_lookup() -> None:
    seen: dict[str, int] = {}

    class Curious(ScriptedEngine):
        def stream(self, context: Context, sampling: SamplingParams) -> Any:
            seen[self.name] = sampling.lookup
            return super().stream(context, sampling)

    go(
        Curious(name="big", script=TARGET),
        Curious(name="small", script=DRAFT),
        sampling=SamplingParams(lookup=10),
    )
    assert seen == {"big": 10, "small": 0}


@pytest.mark.parametrize(
    ("length", "side", "computes"), [(40, 1, False), (2000, 1, True), (40, 600, True)]
)
def test_a_server_computes_a_long_prompt_while_the_draft_writes(
    length: int, side: int, computes: bool
) -> None:
    image = Image(bytes(3 * side * side), side, side)
    conversation = Conversation((Turn("user", (image, Text("a" * length))),))
    big = target(capabilities=Capabilities(independent=True, images=True))
    small = draft(capabilities=Capabilities(images=True))
    result = go(big, small, conversation=conversation, options=ScheduleConfig())
    first = next(event for event in result.events if isinstance(event, JudgeEnded))
    before = [event for event in result.events if event.time <= first.time]
    lanes = [event.role for event in before if isinstance(event, LaneOpened)]
    assert ("target" in lanes[:2]) is computes


@pytest.mark.parametrize(
    ("able", "length", "batch"),
    [
        (Capabilities(), 40, "window"),
        (Capabilities(independent=True), 40, "step"),
        (Capabilities(independent=True, windows=True), 40, "step"),
        (Capabilities(independent=True, windows=True, cache_block=16), 40, "step"),
        (Capabilities(independent=True, windows=True, cache_block=528), 40, "window"),
        (Capabilities(independent=True, windows=True, cache_block=528), 5000, "step"),
        (Capabilities(independent=True, windows=True, cache_block=0), 5000, "window"),
        (Capabilities(independent=True, cache_block=528), 40, "step"),
    ],
)
def test_windows_are_judged_at_once_where_that_reads_less(
    able: Capabilities, length: int, batch: str
) -> None:
    conversation = Conversation((Turn("user", (Text("word" * length),)),))
    big = target(capabilities=able)
    result = go(big, draft(), conversation=conversation, options=ScheduleConfig())
    started = next(event for event in result.events if isinstance(event, RunStarted))
    assert started.options["judge_batch"] == batch
    assert started.options["independent"] is able.independent


def test_the_target_writes_beside_a_judge_call_that_takes_longer_than_usual() -> None:
    """The call only ends when the target writes, so without its lane the run would hang."""
    writes = anyio.Event()

    class Waiting(ScriptedEngine):
        async def stream(self, context: Context, sampling: SamplingParams) -> Any:
            if sampling.max_tokens > 1:
                writes.set()
            async for chunk in super().stream(context, sampling):
                yield chunk

        async def judge(self, *args: Any) -> tuple[Evidence, ...]:
            await writes.wait()
            return await super().judge(*args)

    able = Capabilities(independent=True)
    big = Waiting(script=TARGET, opinion=OPINION, name="big", capabilities=able)
    options = ScheduleConfig(window=1, prefill=False)  # the draft waits before it ends
    result = go(big, draft(), options=options, usual_judge_seconds=0.0)
    assert result.complete
    assert writes.is_set()
