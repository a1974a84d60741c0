"""FPSR over servers that serve judge calls independently, most with `judge_batch="step"`."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dreamr.gate import Verdict
from dreamr.schedules import (
    CancelJudge,
    CloseLane,
    Commit,
    Discard,
    Finished,
    Judge,
    Judged,
    JudgeFailed,
    JudgeLate,
    LaneEnded,
    LaneFailed,
    OpenLane,
    Reject,
    StepDone,
)
from dreamr.steps import Ending
from support.fpsr_talk import ANSWER, C1, NO, OWN, YES, A, B, Talk, step


@pytest.fixture
def talk() -> Talk:
    return Talk(judge_batch="step")


def test_each_step_is_judged_as_soon_as_it_is_complete(talk: Talk) -> None:
    assert talk.writes("draft", A) == [Judge(0, (), (A,))]
    assert talk.writes("draft", B) == [Judge(1, (A.text,), (B,))]
    assert talk.writes("draft", C1) == [Judge(2, (A.text, B.text), (C1,))]


def test_verdicts_apply_in_the_order_of_the_steps(talk: Talk) -> None:
    for drafted in (A, B):
        talk.writes("draft", drafted)
    assert talk.tell(Judged(1, (YES,))) == []
    talk.tell(Judged(0, (YES,)))
    assert [commit.step for commit in talk.all(Commit)] == [A, B]


def test_a_rejection_stops_the_draft_before_earlier_steps_are_decided(talk: Talk) -> None:
    for drafted in (A, B, C1):
        talk.writes("draft", drafted)
    draft = talk.lanes["draft"]
    talk.tell(Judged(1, (NO,)))
    assert talk.only(CloseLane) == CloseLane(draft)
    assert talk.only(Discard).step == C1
    assert talk.only(CancelJudge) == CancelJudge(2)
    assert talk.only(OpenLane) == OpenLane(2, "target", (A.text,), 1, 4096 - A.tokens)


def test_the_step_of_the_target_at_a_rejected_step_is_ready_when_it_is_needed(talk: Talk) -> None:
    for drafted in (A, B):
        talk.writes("draft", drafted)
    talk.tell(Judged(1, (NO,)))
    talk.writes("target", OWN)  # at the position of B
    talk.tell(Judged(0, (YES,)))
    assert [(commit.step, commit.source) for commit in talk.all(Commit)] == [
        (A, "draft"),
        (OWN, "target"),
    ]
    assert talk.only(Reject).step == B


def test_the_answer_is_begun_after_the_drafted_steps(talk: Talk) -> None:
    talk.writes("draft", A)
    talk.writes("draft", ANSWER, "stop")
    opened = talk.only(OpenLane)
    assert (opened.role, opened.prefix, opened.guess) == ("target", (A.text,), ANSWER.text)
    answer = opened.lane
    talk.tell(Judged(0, (YES,)))
    assert talk.only(Commit).step == A
    assert CloseLane(answer) not in talk.said
    assert not talk.all(OpenLane)


def test_an_answer_begun_after_a_rejected_step_is_dropped(talk: Talk) -> None:
    talk.writes("draft", A)
    talk.writes("draft", ANSWER, "stop")
    answer = talk.lanes["target"]
    talk.tell(Judged(0, (NO,)))
    assert CloseLane(answer) in talk.said


def test_a_failed_call_rejects_its_step_alone(talk: Talk) -> None:
    for drafted in (A, B):
        talk.writes("draft", drafted)
    talk.tell(JudgeFailed(1, "too busy"))
    talk.tell(Judged(0, (YES,)))
    assert talk.only(Commit).step == A
    assert talk.only(Reject).step == B


def test_a_step_that_is_unlikely_to_be_needed_waits_for_earlier_verdicts(talk: Talk) -> None:
    steps = [step(f"{number}\n\n") for number in range(5)]
    judged = [command for drafted in steps for command in talk.writes("draft", drafted)]
    assert [call.candidates[0] for call in judged if isinstance(call, Judge)] == steps[:3]
    talk.tell(Judged(0, (YES,)))
    assert [call.candidates[0] for call in talk.all(Judge)] == steps[3:]


@pytest.mark.parametrize("judge_batch", ["step", "window"])
def test_candidates_for_a_rejected_step_are_judged_side_by_side(judge_batch: str) -> None:
    talk = Talk(judge_batch=judge_batch, independent=True, resamples=2, fallback="on-reject")
    talk.writes("draft", A)
    talk.tell(Judged(0, (NO,)))
    first, second = (lane.lane for lane in talk.all(OpenLane) if lane.role == "draft")
    assert Judge(1, (), (B,), resamples=1) in talk.tell(StepDone(first, B, None))
    assert Judge(2, (), (C1,), resamples=2) in talk.tell(StepDone(second, C1, None))
    talk.tell(Judged(2, (YES,)))
    assert talk.only(Commit).step == C1
    assert talk.only(CancelJudge) == CancelJudge(1)
    assert talk.only(Discard).step == B


def resampled(*, accepted: bool) -> Talk:
    """Return a talk with a candidate, two steps after it, and the verdict on the candidate."""
    talk = Talk(judge_batch="step", resamples=1, fallback="on-reject")
    talk.writes("draft", A)
    talk.tell(Judged(0, (NO,)))
    candidate = talk.lanes["draft"]
    [after] = [
        lane for lane in talk.tell(StepDone(candidate, B, None)) if isinstance(lane, OpenLane)
    ]
    assert (after.role, after.prefix) == ("draft", (B.text,))
    for following in (C1, A):
        talk.tell(StepDone(after.lane, following, None))
    talk.tell(Judged(1, (YES,) if accepted else (NO,)))
    return talk


def test_what_the_draft_writes_after_an_accepted_candidate_is_judged() -> None:
    talk = resampled(accepted=True)
    assert talk.only(Commit).step == B
    assert [call.candidates for call in talk.all(Judge)] == [(C1,), (A,)]
    assert talk.all(OpenLane) == []


def test_what_the_draft_writes_after_a_rejected_candidate_is_discarded() -> None:
    talk = resampled(accepted=False)
    assert [step.step for step in talk.all(Discard)] == [C1, A]
    assert len(talk.all(CloseLane)) == 1


@pytest.mark.parametrize("judge_batch", ["step", "window"])
def test_candidates_are_written_while_a_step_in_doubt_is_judged(judge_batch: str) -> None:
    talk = Talk(judge_batch=judge_batch, independent=True, resamples=2, fallback="on-reject")
    doubtful = replace(A, min_logprob=math.log(0.2))
    opened = [lane for lane in talk.writes("draft", doubtful) if isinstance(lane, OpenLane)]
    assert [lane.resample for lane in opened] == [1, 2]
    talk.tell(Judged(0, (NO,)))
    talk.tell(StepDone(opened[0].lane, B, None))
    talk.tell(Judged(1, (YES,)))
    assert talk.only(Commit).step == B


@pytest.mark.parametrize("judge_batch", ["step", "window"])
def test_candidates_for_a_step_in_doubt_are_discarded_if_it_is_accepted(judge_batch: str) -> None:
    talk = Talk(judge_batch=judge_batch, independent=True, resamples=2, fallback="on-reject")
    doubtful = replace(A, min_logprob=math.log(0.2))
    first, second = (
        lane.lane for lane in talk.writes("draft", doubtful) if isinstance(lane, OpenLane)
    )
    talk.tell(StepDone(first, B, None))
    talk.tell(Judged(1, (YES,)))
    assert talk.all(Commit) == []
    talk.tell(Judged(0, (YES,)))
    assert talk.only(Commit).step == doubtful
    assert talk.only(Discard).step == B
    assert {closed.lane for closed in talk.all(CloseLane)} >= {second}


@pytest.mark.parametrize("verdict", [YES, NO])
def test_a_second_accepted_candidate_for_a_step_in_doubt_does_not_count_as_rejected(
    verdict: Verdict,
) -> None:
    talk = Talk(judge_batch="step", independent=True, resamples=2, fallback="on-reject")
    doubtful = replace(A, min_logprob=math.log(0.2))
    lanes = [lane.lane for lane in talk.writes("draft", doubtful) if isinstance(lane, OpenLane)]
    for lane, candidate in zip(lanes, (B, C1), strict=True):
        talk.tell(StepDone(lane, candidate, None))
    [after] = [lane.lane for lane in talk.all(OpenLane)]
    talk.tell(StepDone(after, OWN, None))
    talk.tell(Judged(1, (YES,)))
    talk.tell(Judged(2, (YES,)))
    assert talk.said == [
        Discard(0, C1, "draft", "an earlier candidate was accepted"),
        CloseLane(after),
        Discard(1, OWN, "draft", "followed a candidate that was not committed"),
    ]
    talk.tell(Judged(0, (verdict,)))
    assert talk.only(Commit).step == (doubtful if verdict.accepted else B)


@pytest.mark.parametrize("ends", [False, True])
def test_the_draft_writes_on_after_an_accepted_candidate_for_a_step_in_doubt(ends: bool) -> None:
    talk = Talk(judge_batch="step", independent=True, resamples=1, fallback="on-reject")
    doubtful = replace(A, min_logprob=math.log(0.2))
    [lane] = [lane.lane for lane in talk.writes("draft", doubtful) if isinstance(lane, OpenLane)]
    talk.tell(StepDone(lane, B, None))
    [after] = [lane.lane for lane in talk.all(OpenLane)]
    talk.tell(Judged(1, (YES,)))
    assert talk.tell(StepDone(after, C1, None)) == []
    if ends:
        talk.tell(LaneEnded(after, "length"))
    talk.tell(Judged(0, (NO,)))
    assert talk.only(Commit).step == B
    assert [judge.candidates for judge in talk.all(Judge)] == [(C1,)]


def test_what_follows_an_accepted_candidate_is_judged_in_a_window() -> None:
    talk = Talk(judge_batch="window", independent=True, resamples=1, fallback="on-reject")
    talk.writes("draft", A)
    talk.tell(Judged(0, (NO,)))
    [after] = [
        lane
        for lane in talk.tell(StepDone(talk.lanes["draft"], B, None))
        if isinstance(lane, OpenLane)
    ]
    for following in (C1, A):
        talk.tell(StepDone(after.lane, following, None))
    talk.tell(Judged(1, (YES,)))
    assert talk.only(Commit).step == B
    assert talk.only(Judge).candidates == (C1, A)


def test_candidates_in_doubt_are_not_written_while_judge_calls_wait_for_each_other() -> None:
    talk = Talk(judge_batch="window", resamples=2, fallback="on-reject")
    doubtful = replace(A, min_logprob=math.log(0.2))
    assert talk.writes("draft", doubtful) == [Judge(0, (), (doubtful,))]


def test_the_target_computes_the_prompt_while_the_draft_writes() -> None:
    talk = Talk(judge_batch="step", fallback="auto")
    warming = next(lane for lane in talk.all(OpenLane) if lane.role == "target")
    assert (warming.prefix, warming.max_tokens) == ((), 1)
    piece = step("o", Ending.END)
    assert talk.tell(StepDone(warming.lane, piece, "length")) == [
        Discard(0, piece, "target", "written to compute the prompt")
    ]
    talk.writes("draft", A)
    talk.tell(Judged(0, (YES,)))
    assert talk.only(Commit).step == A


def test_the_target_does_not_compute_a_short_prompt_ahead() -> None:
    talk = Talk(judge_batch="step", fallback="auto", prefill=False)
    assert {lane.role for lane in talk.all(OpenLane)} == {"draft"}


def test_a_target_that_fails_to_compute_the_prompt_ends_the_run() -> None:
    talk = Talk(judge_batch="step", fallback="auto")
    talk.tell(LaneFailed(talk.lanes["target"], "connection refused", lost=True))
    assert talk.only(Finished) == Finished("failed", "connection refused")


@pytest.mark.parametrize(("probability", "opens"), [(0.2, True), (0.9, False)])
def test_the_fallback_opens_beside_the_judge_call_of_a_step_in_doubt(
    probability: float, opens: bool
) -> None:
    talk = Talk(judge_batch="step", fallback="auto")
    commands = talk.writes("draft", replace(A, min_logprob=math.log(probability)))
    opened = [command for command in commands if isinstance(command, OpenLane)]
    assert [lane.role for lane in opened] == (["target"] if opens else [])


def test_the_fallback_opens_at_once_after_many_rejections() -> None:
    talk = Talk(judge_batch="step", fallback="auto")
    for _ in range(4):
        talk.writes("draft", A)
        talk.judges(NO)
        talk.writes("target", OWN)
    assert {lane.role for lane in talk.all(OpenLane)} == {"draft", "target"}


@pytest.mark.parametrize("judge_batch", ["step", "window"])
def test_the_fallback_opens_beside_a_judge_call_that_is_late(judge_batch: str) -> None:
    talk = Talk(judge_batch=judge_batch, independent=True, prefill=False)
    talk.writes("draft", A)
    assert {
        lane.role for lane in talk.tell(JudgeLate(talk.call)) if isinstance(lane, OpenLane)
    } == {"target"}
    assert talk.tell(JudgeLate(talk.call)) == []
    talk.judges(YES)
    assert talk.only(Commit).step == A
    assert talk.only(CloseLane).lane == 1


def test_a_late_verdict_on_a_later_step_opens_nothing() -> None:
    talk = Talk(judge_batch="step", prefill=False)
    for drafted in (A, B):
        talk.writes("draft", drafted)
    assert talk.tell(JudgeLate(1)) == []
    talk.tell(Judged(0, (YES,)))
    assert [lane.role for lane in talk.all(OpenLane)] == ["target"]


@pytest.mark.parametrize("fallback", ["on-reject", "idle"])
def test_a_late_verdict_changes_nothing_for_other_fallbacks(fallback: str) -> None:
    talk = Talk(judge_batch="step", fallback=fallback)
    talk.writes("draft", A)
    assert talk.tell(JudgeLate(talk.call)) == []


def test_a_signal_about_a_judge_call_that_has_ended_is_ignored() -> None:
    talk = Talk(judge_batch="step", prefill=False)
    talk.writes("draft", A)
    talk.judges(YES)
    assert talk.tell(JudgeLate(0)) == []


def test_a_window_that_a_server_judges_at_once_leaves_the_fallback_closed() -> None:
    talk = Talk(judge_batch="window", independent=True, prefill=False)
    assert {lane.role for lane in talk.all(OpenLane)} == {"draft"}
    assert talk.writes("draft", A) == [Judge(0, (), (A,))]
    talk.writes("draft", B)
    talk.writes("draft", ANSWER, "stop")
    assert talk.only(OpenLane).prefix == (A.text, B.text)
