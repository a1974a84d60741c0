"""Whole runs over scripted engines."""

from __future__ import annotations

import gc
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Any

import anyio
import pytest

from dreamr.conversation import Conversation, Image, Text, Turn
from dreamr.engines import Capabilities, Chunk, Context, Failure, SamplingParams, ScriptedEngine
from dreamr.errors import ContextTooLong, EngineError, EngineLost, RunFailed, Unsupported
from dreamr.gate import VERDICT, CascadeGate, Evidence, Query
from dreamr.runner import RunConfig, open_run, run
from dreamr.schedules import ScheduleConfig
from dreamr.steps import StepFormat
from dreamr.trace import (
    Event,
    JudgeEnded,
    LaneClosed,
    LaneOpened,
    Note,
    Result,
    RunFinished,
    RunStarted,
    StepCommitted,
    StepDiscarded,
    StepReady,
    StepRejected,
    usage_of,
)

TALK = Conversation((Turn("user", (Text("What do tea and milk cost?"),)),))
TARGET = ["Tea costs 2.\n\n", "Milk costs 1.\n\n", "Two and one is three.\n\n", "Answer: 3"]
DRAFT = ["Tea is 2.\n\n", "Milk is 1.\n\n", "That is 4.\n\n", "Answer: 4"]
OPINION = {DRAFT[0]: 0.9, DRAFT[1]: 0.8}  # the rest is wrong
METHODS = ["sequential", "fpsr"]
INF = math.inf


def target(**values: Any) -> ScriptedEngine:
    return ScriptedEngine(**{"script": TARGET, "opinion": OPINION, "name": "big", **values})


def draft(**values: Any) -> ScriptedEngine:
    return ScriptedEngine(**{"script": DRAFT, "name": "small", **values})


def go(
    big: ScriptedEngine,
    small: ScriptedEngine | None = None,
    method: str = "fpsr",
    conversation: Conversation = TALK,
    on_event: Callable[[Event], None] | None = None,
    **values: Any,
) -> Result:
    values.setdefault("options", ScheduleConfig(deterministic=True))
    settings = RunConfig(method=method, **values)

    async def main() -> Result:
        with anyio.fail_after(20):
            return await run(
                conversation, target=big, draft=small, settings=settings, on_event=on_event
            )

    try:
        return anyio.run(main)
    finally:
        assert big.open_streams == 0
        assert small is None or small.open_streams == 0


def texts(result: Result) -> list[str]:
    return [committed.step.text for committed in result.steps]


def notes(result: Result) -> str:
    return "; ".join(event.message for event in result.events if isinstance(event, Note))


@pytest.mark.parametrize("method", METHODS)
def test_right_drafts_are_kept_and_wrong_ones_replaced(method: str) -> None:
    result = go(target(), draft(), method)
    assert texts(result) == [DRAFT[0], DRAFT[1], TARGET[2], TARGET[3]]
    assert [c.source for c in result.steps] == ["draft", "draft", "target", "target"]
    assert [c.verdict.score for c in result.steps if c.verdict] == [0.9, 0.8]
    assert (result.answer, result.finish, result.complete) == ("3", "answer", True)
    assert result.text == "".join(texts(result))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("answer", ["Answer: 3", "So it is 3."])
def test_the_step_that_ends_the_reasoning_is_told_as_the_last(method: str, answer: str) -> None:
    result = go(target(script=[*TARGET[:-1], answer]), draft(), method)
    committed = [event for event in result.events if isinstance(event, StepCommitted)]
    assert [event.last for event in committed] == [False, False, False, True]


def test_a_closed_lane_says_when_its_first_piece_came() -> None:
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
        async with open_run(TALK, target=big, draft=small, settings=settings):
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


def test_cancelling_from_outside_closes_every_lane() -> None:
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
        results.append(await run(TALK, target=big, draft=small, settings=settings))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(one)

    anyio.run(main)
    assert {result.text for result in results} == {"".join(DRAFT[:2] + TARGET[2:])}


# What may go wrong


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("error", [EngineLost("gone"), RuntimeError("a defect")])
def test_without_its_draft_the_target_goes_on_alone(method: str, error: Exception) -> None:
    small = draft(stream_failures={call: Failure(error, 4) for call in range(9)})
    result = go(target(), small, method)
    assert result.answer == "3"
    assert texts(result)[0] == DRAFT[0]
    assert str(error) in notes(result)
    assert "small" in notes(result)


def test_a_lost_draft_is_not_asked_again() -> None:
    small = draft(stream_failures={0: Failure(EngineLost("gone"), 2)})
    assert go(target(), small).answer == "3"
    assert small.streams == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_hanging_draft_is_given_up(method: str) -> None:
    result = go(target(), draft(token_seconds=INF), method, stall_seconds=0.01)
    assert result.answer == "3"
    assert "no sign of life for 0.01 s" in notes(result)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("error", [EngineError("overloaded"), ZeroDivisionError("a defect")])
def test_a_failed_judgment_is_a_rejection(method: str, error: Exception) -> None:
    result = go(target(judge_failures={0: Failure(error)}), draft(), method)
    assert texts(result) == [TARGET[0], DRAFT[1], TARGET[2], TARGET[3]]
    assert str(error) in notes(result)


class Busy(ScriptedEngine):
    """Lets its first judge call wait until that has grown, and takes so much of it."""

    taken = 2

    async def judge(
        self, context: Context, candidates: Sequence[str], query: Query = VERDICT
    ) -> tuple[Evidence, ...]:
        if self.judgments:
            return await super().judge(context, candidates)
        while len(candidates) < 2:
            await anyio.lowlevel.checkpoint()
        return (await super().judge(context, candidates))[: self.taken]


@pytest.mark.parametrize("taken", [1, 2])
def test_a_waiting_judge_call_takes_the_steps_that_come_meanwhile(taken: int) -> None:
    big = Busy(script=TARGET, opinion=1.0, name="big")
    big.taken = taken
    result = go(big, draft(script=[*DRAFT[:2], "Three.\n\n", "Answer: 3"]))
    first = next(event for event in result.events if isinstance(event, JudgeEnded))
    assert (first.positions, len(first.verdicts)) == (tuple(range(taken)), taken)
    assert texts(result)[:3] == [*DRAFT[:2], "Three.\n\n"]


def test_a_draft_that_ends_the_targets_step_alike_goes_on_behind_it() -> None:
    class Slow(ScriptedEngine):
        """Writes nothing of its own before the draft has written what it is waited for."""

        async def stream(self, context: Context, sampling: SamplingParams) -> Any:
            while small.streams < 2 or small.open_streams:
                await anyio.lowlevel.checkpoint()
            async for chunk in super().stream(context, sampling):
                yield chunk

    rejected = Evidence(0.0, 1.0, target_prefix="Tea costs ")
    big = Slow(script=TARGET, opinion={DRAFT[0]: rejected, **dict.fromkeys(TARGET, 1.0)})
    small = draft(script={"": DRAFT[0], "Tea costs ": "".join(TARGET)[len("Tea costs ") :]})
    result = go(big, small, options=ScheduleConfig())
    assert texts(result) == TARGET
    assert [c.source for c in result.steps] == ["target", "draft", "draft", "target"]
    assert small.streams == 2
    assert usage_of(result.events) == result.usage


def test_nothing_is_asked_about_an_answer_that_the_target_writes_itself() -> None:
    asked: list[Query] = []

    class Curious(ScriptedEngine):
        async def judge(
            self, context: Context, candidates: Sequence[str], query: Query = VERDICT
        ) -> tuple[Evidence, ...]:
            asked.append(query)
            return await super().judge(context, candidates, query)

    for answer in ("target", "draft"):
        go(Curious(script=TARGET), draft(), options=ScheduleConfig(final_answer=answer))  # type: ignore[arg-type]
    about = {query.concerns("\nAnswer: 4") for query in asked}
    assert about == {False, True}
    assert all(query.concerns("Tea is 2.\n\n") for query in asked)


def test_the_wrong_number_of_verdicts_is_a_failed_judgment() -> None:
    class Terse(ScriptedEngine):
        async def judge(
            self, context: Context, candidates: Any, query: Query = VERDICT
        ) -> tuple[Evidence, ...]:
            return ()

    result = go(Terse(script=TARGET), draft(), "sequential")
    assert texts(result) == TARGET
    assert "0 pieces of evidence for 1 steps" in notes(result)


@pytest.mark.parametrize("method", ["target", *METHODS])
@pytest.mark.parametrize("error", [EngineLost("gone"), ContextTooLong("full")])
def test_a_failed_target_ends_the_run_with_what_is_there(method: str, error: Exception) -> None:
    big = target(stream_failures={call: Failure(error, 1) for call in range(9)})
    with pytest.raises(RunFailed, match=f"target big: {error}") as failed:
        go(big, draft(), method)
    result = failed.value.result
    assert isinstance(result, Result)
    assert (result.finish, result.complete, result.answer) == ("failed", False, "")
    assert result.error is not None
    assert result.usage == usage_of(result.events)


@pytest.mark.parametrize("method", METHODS)
def test_a_target_lost_while_it_judges_ends_the_run(method: str) -> None:
    big = target(judge_failures={1: Failure(EngineLost("gone"))})
    with pytest.raises(RunFailed, match="gone") as failed:
        go(big, draft(), method)
    assert isinstance(failed.value.result, Result)
    assert texts(failed.value.result) == DRAFT[:1]


def test_a_failed_target_cancels_the_judge_call_under_way() -> None:
    big = target(judge_seconds=INF, stream_failures={0: Failure(EngineError("full"), 2)})
    with pytest.raises(RunFailed, match="full") as failed:
        go(big, draft(script=["a\n\n"] * 9), options=ScheduleConfig(window=1))
    assert isinstance(failed.value.result, Result)
    ended = [e for e in failed.value.result.events if isinstance(e, JudgeEnded)]
    assert [e.verdicts for e in ended] == [()]


def test_a_failure_comes_after_its_last_event() -> None:
    events: list[Event] = []
    with pytest.raises(RunFailed):
        go(target(token_seconds=INF), method="target", stall_seconds=0.01, on_event=events.append)
    assert isinstance(events[-1], RunFinished)


def test_a_hanging_judge_ends_the_run() -> None:
    with pytest.raises(RunFailed, match="no sign of life"):
        go(target(judge_seconds=INF), draft(), "sequential", stall_seconds=0.01)


def test_a_draft_without_delimiters_costs_no_more_than_its_cap() -> None:
    small = draft(script="and so on " * 1000)
    result = go(target(), small, step_format=StepFormat(max_tokens=8))
    assert texts(result) == TARGET
    assert small.written <= 4 * 8
    assert "cap" in next(e for e in result.events if isinstance(e, StepRejected)).verdict.reason


@pytest.mark.parametrize("method", ["target", *METHODS])
def test_a_target_that_never_ends_gives_a_bounded_run(method: str) -> None:
    endless = target(script=lambda context: "and so on\n\n" * 500, opinion=0.0)
    result = go(
        endless, draft(script="or not\n\n" * 500), method, options=ScheduleConfig(max_steps=9)
    )
    assert (result.finish, result.complete, result.answer) == ("length", False, "")
    assert len(result.steps) == 9
    assert "limit" in notes(result)


@pytest.mark.parametrize("method", ["target", *METHODS])
def test_a_target_without_delimiters_is_bounded_by_tokens(method: str) -> None:
    endless = target(script=lambda context: "and so on " * 500, opinion=0.0)
    options = ScheduleConfig(max_tokens=50)
    result = go(endless, draft(), method, options=options, step_format=StepFormat(max_tokens=20))
    assert result.finish == "length"
    assert [c.step.tokens for c in result.steps] == [20, 20, 10]


def test_an_endless_answer_is_cut_and_kept() -> None:
    endless = target(script="Answer: 3 " + "3 " * 500)
    result = go(endless, method="target", step_format=StepFormat(max_answer_tokens=4))
    assert (result.answer, result.finish) == ("3 3 3", "length")


def test_an_empty_draft_does_no_harm() -> None:
    small = draft(script="")
    result = go(target(), small)
    assert texts(result) == TARGET
    assert small.streams <= len(TARGET)


def test_a_target_that_writes_nothing_gives_an_empty_result() -> None:
    result = go(target(script=""), draft(script=""))
    assert (result.answer, result.steps, result.finish) == ("", (), "stop")


def test_without_a_marked_answer_the_last_step_is_the_answer() -> None:
    result = go(target(script="One.\n\nSo it is three."), method="target")
    assert (result.answer, result.finish) == ("So it is three.", "stop")


def test_a_verified_draft_may_answer_itself() -> None:
    options = ScheduleConfig(final_answer="draft", deterministic=True)
    result = go(target(opinion=1.0), draft(), options=options)
    assert texts(result) == DRAFT
    assert (result.answer, result.usage.target.kept) == ("4", 0)


def test_what_the_draft_is_sure_of_is_committed_unseen() -> None:
    """It doubts one step alone; the target is asked about that, and sees no other."""

    def sureness(token: str) -> float:
        return 0.5 if token.startswith("4") else 0.99

    says = Capabilities(logprobs=True)
    big, small = target(opinion=1.0), draft(sureness=sureness, capabilities=says)
    options = ScheduleConfig(final_answer="draft", deterministic=True)
    result = go(big, small, options=options, gate=CascadeGate(draft_confidence=0.9))
    assert texts(result) == DRAFT
    seen = [step.verdict is not None and step.verdict.evidence is not None for step in result.steps]
    assert seen == [False, False, True, True]
    assert result.steps[0].step.min_logprob == pytest.approx(math.log(0.99))
    assert result.steps[2].step.min_logprob == pytest.approx(math.log(0.5))


def test_an_end_without_a_token_of_its_own_leaves_the_last_step_as_sure_as_it_is() -> None:
    class Late(ScriptedEngine):
        async def stream(
            self, context: Context, sampling: SamplingParams
        ) -> AsyncGenerator[Chunk, None]:
            async for chunk in super().stream(context, sampling):
                yield replace(chunk, finish=None)
            yield Chunk("", 0, "stop")

    says = Capabilities(logprobs=True)
    small = Late(script=DRAFT, sureness=lambda token: 1.0, capabilities=says)
    options = ScheduleConfig(final_answer="draft", deterministic=True)
    result = go(target(), small, options=options, gate=CascadeGate(draft_confidence=0.9))
    assert texts(result) == DRAFT
    assert not any(isinstance(event, JudgeEnded) for event in result.events)


def test_another_try_wins_over_a_target_that_takes_long() -> None:
    """It is drawn with a seed of its own, and judged by a stricter gate."""
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
    tries = [sampling for sampling in seeds if sampling.temperature > 0]
    assert len({sampling.seed for sampling in tries}) == options.resamples
    assert {sampling.temperature for sampling in tries} == {0.7}
    refused = [event for event in result.events if isinstance(event, StepRejected)]
    first = [(e.step.text, round(e.verdict.threshold, 3)) for e in refused if e.position == 0]
    assert first[:2] == [(DRAFT[0], 0.7), (TARGET[0], 0.85)]  # 0.8 were enough at first


def test_a_draft_that_cannot_say_how_sure_it_is_is_judged_as_ever() -> None:
    result = go(
        target(opinion=1.0),
        draft(sureness=lambda token: 1.0),
        gate=CascadeGate(draft_confidence=0.9),
    )
    drafted = [step for step in result.steps if step.source == "draft"]
    assert drafted
    assert all(step.verdict is not None and step.verdict.evidence for step in drafted)


def test_a_claimed_answer_is_left_to_the_target() -> None:
    result = go(target(opinion=1.0), draft())
    assert texts(result) == [*DRAFT[:3], TARGET[3]]
    assert any(isinstance(event, StepDiscarded) for event in result.events)


def test_a_stream_that_forgets_to_finish_has_ended() -> None:
    class Forgetful(ScriptedEngine):
        async def stream(self, context: Context, sampling: SamplingParams) -> Any:
            yield Chunk("Answer: 5", 2)

    assert go(Forgetful(), method="target").answer == "5"


def test_what_the_engines_cannot_do_is_said_at_once() -> None:
    with pytest.raises(Unsupported, match="needs a draft"):
        go(target())
    with pytest.raises(Unsupported, match="cannot judge"):
        go(target(capabilities=Capabilities(judge=False)), draft())
    with pytest.raises(Unsupported, match="unknown method"):
        go(target(), draft(), "magic")


def test_a_draft_without_eyes_is_left_out_of_an_image() -> None:
    image = Conversation((Turn("user", (Text("What?"), Image(b"abc", 1, 1))),))
    blind = Capabilities(images=False)
    result = go(target(), draft(capabilities=blind), conversation=image)
    assert texts(result) == TARGET
    assert "no images" in notes(result)
    with pytest.raises(RunFailed, match="no images"):
        go(target(capabilities=blind), method="target", conversation=image)


def test_draws_are_the_callers_and_lengths_the_schedules() -> None:
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


def test_only_the_target_looks_words_up() -> None:
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
