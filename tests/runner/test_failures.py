"""Runs in which something goes wrong, over scripted engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import anyio
import pytest

from dreamr.engines import Context, Failure, SamplingParams, ScriptedEngine
from dreamr.errors import EngineError, EngineLost, RunFailed
from dreamr.gate import VERDICT, Evidence, Query
from dreamr.schedules import ScheduleConfig
from dreamr.steps import StepFormat
from dreamr.trace import (
    Event,
    JudgeEnded,
    Result,
    RunFinished,
    StepRejected,
    usage_of,
)
from support.runs import DRAFT, INF, METHODS, TARGET, draft, go, notes, target, texts


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("error", [EngineLost("gone"), RuntimeError("a defect")])
def test_without_its_draft_the_target_continues_alone(method: str, error: Exception) -> None:
    small = draft(stream_failures={call: Failure(error, 4) for call in range(9)})
    result = go(target(), small, method)
    assert result.answer == "3"
    assert texts(result)[0] == DRAFT[0]
    assert str(error) in notes(result)
    assert "small" in notes(result)


def test_a_lost_draft_is_not_used_again() -> None:
    small = draft(stream_failures={0: Failure(EngineLost("gone"), 2)})
    assert go(target(), small).answer == "3"
    assert small.streams == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_hanging_draft_is_given_up(method: str) -> None:
    result = go(target(), draft(token_seconds=INF), method, stall_seconds=0.01)
    assert result.answer == "3"
    assert "no output for 0.01 s" in notes(result)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("error", [EngineError("overloaded"), ZeroDivisionError("a defect")])
def test_a_failed_judge_call_is_a_rejection(method: str, error: Exception) -> None:
    result = go(target(judge_failures={0: Failure(error)}), draft(), method)
    assert texts(result) == [TARGET[0], DRAFT[1], TARGET[2], TARGET[3]]
    assert str(error) in notes(result)


class Busy(ScriptedEngine):
    """Delays its first judge call until it has grown, then judges the first `taken` steps."""

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
def test_a_queued_judge_call_takes_later_steps(taken: int) -> None:
    big = Busy(script=TARGET, opinion=1.0, name="big")
    big.taken = taken
    result = go(big, draft(script=[*DRAFT[:2], "Three.\n\n", "Answer: 3"]))
    first = next(event for event in result.events if isinstance(event, JudgeEnded))
    assert (first.positions, len(first.verdicts)) == (tuple(range(taken)), taken)
    assert texts(result)[:3] == [*DRAFT[:2], "Three.\n\n"]


def test_a_draft_that_predicts_the_targets_step_continues_after_it() -> None:
    class Slow(ScriptedEngine):
        """Writes nothing until the draft has written its prediction."""

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


def test_a_drafted_answer_is_judged_only_if_the_draft_may_answer() -> None:
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


def test_a_wrong_number_of_results_is_a_failed_judge_call() -> None:
    class Terse(ScriptedEngine):
        async def judge(
            self, context: Context, candidates: Any, query: Query = VERDICT
        ) -> tuple[Evidence, ...]:
            return ()

    result = go(Terse(script=TARGET), draft(), "sequential")
    assert texts(result) == TARGET
    assert "the judge call returned 0 results for 1 steps" in notes(result)


@pytest.mark.parametrize("method", ["target", *METHODS])
@pytest.mark.parametrize("error", [EngineLost("gone"), EngineError("broken")])
def test_a_failed_target_ends_the_run_with_the_steps_so_far(method: str, error: Exception) -> None:
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


def test_a_failed_target_cancels_the_open_judge_call() -> None:
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
    with pytest.raises(RunFailed, match="no output for"):
        go(target(judge_seconds=INF), draft(), "sequential", stall_seconds=0.01)


@pytest.mark.parametrize("seconds", [{"judge_seconds": INF}, {"token_seconds": INF}])
def test_an_engine_learns_that_its_call_stalled(seconds: dict[str, float]) -> None:
    class Noting(ScriptedEngine):
        stalls: ClassVar[list[float]] = []

        def note_stall(self, seconds: float) -> None:
            self.stalls.append(seconds)

    with pytest.raises(RunFailed, match="no output for"):
        go(Noting(script=TARGET, **seconds), draft(), "sequential", stall_seconds=0.01)
    assert Noting.stalls == [0.01]


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
