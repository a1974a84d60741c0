"""FPSR over servers that serve judge calls independently: `judge_batch="step"`."""

from __future__ import annotations

import pytest

from dreamr.schedules import (
    CancelJudge,
    CloseLane,
    Commit,
    Discard,
    Judge,
    Judged,
    JudgeFailed,
    OpenLane,
    Reject,
)
from support.fpsr_talk import ANSWER, C1, NO, OWN, YES, A, B, Talk


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


def test_the_answer_is_begun_behind_the_drafted_steps(talk: Talk) -> None:
    talk.writes("draft", A)
    talk.writes("draft", ANSWER, "stop")
    opened = talk.only(OpenLane)
    assert (opened.role, opened.prefix, opened.guess) == ("target", (A.text,), ANSWER.text)
    answer = opened.lane
    talk.tell(Judged(0, (YES,)))
    assert talk.only(Commit).step == A
    assert CloseLane(answer) not in talk.said
    assert not talk.all(OpenLane)


def test_an_answer_begun_behind_a_rejected_step_is_dropped(talk: Talk) -> None:
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
