"""FPSR signal by signal: tests send signals and check the returned commands."""

from __future__ import annotations

import pytest

from dreamr.schedules import (
    CancelJudge,
    CloseLane,
    Commit,
    Discard,
    ExtendJudge,
    Finished,
    GrantSteps,
    Judge,
    JudgeFailed,
    LaneFailed,
    OpenLane,
    Reject,
    Warn,
)
from dreamr.steps import Ending
from support.fpsr_talk import ANSWER, C1, CUT, NO, OWN, SURE, YES, A, B, Talk, step


def test_draft_and_fallback_start_together() -> None:
    draft, fallback = Talk(window=3).said
    assert draft == OpenLane(0, "draft", (), 3, 4096)
    assert fallback == OpenLane(1, "target", (), 1, 4096)


def test_a_step_decided_without_the_target_needs_no_judge_call() -> None:
    talk = Talk()
    talk.writes("draft", A, verdict=SURE)
    assert talk.only(Commit).verdict is SURE
    assert not talk.all(Judge)


def test_a_decided_step_after_an_undecided_one_is_part_of_its_call() -> None:
    talk = Talk()
    talk.writes("draft", A)
    assert talk.writes("draft", B, verdict=SURE) == [ExtendJudge(0, (B,))]
    assert talk.writes("draft", C1) == [ExtendJudge(0, (C1,))]
    talk.judges(YES, NO, YES)
    assert [commit.verdict for commit in talk.all(Commit)] == [YES, SURE, YES]


def test_a_confident_answer_ends_the_run_only_if_the_draft_may_answer() -> None:
    talk = Talk(final_answer="draft")
    talk.writes("draft", ANSWER, "stop", verdict=SURE)
    assert talk.only(Finished).finish == "answer"
    talk = Talk()
    talk.writes("draft", ANSWER, "stop", verdict=SURE)
    assert not talk.all(Finished)
    assert talk.only(Discard).step == ANSWER


def test_steps_that_are_complete_before_a_verdict_join_the_call() -> None:
    talk = Talk()
    assert talk.writes("draft", A) == [Judge(0, (), (A,))]
    assert talk.writes("draft", B) == [ExtendJudge(0, (B,))]
    assert talk.writes("draft", C1) == [ExtendJudge(0, (C1,))]
    talk.judges(YES, YES, YES)
    assert [commit.step for commit in talk.all(Commit)] == [A, B, C1]
    assert not talk.all(Judge)


def test_steps_too_late_for_a_call_are_in_the_next() -> None:
    talk = Talk()
    for drafted in (A, B, C1):
        talk.writes("draft", drafted)
    talk.judges(YES)
    assert talk.only(Judge) == Judge(1, (A.text,), (B, C1))


def test_known_verdicts_apply_at_once_and_the_draft_continues() -> None:
    talk = Talk()
    for drafted in (A, B, C1):
        talk.writes("draft", drafted)
    talk.judges(YES)
    fallback, draft = talk.lanes["target"], talk.lanes["draft"]
    talk.judges(YES, YES)
    assert talk.all(Commit) == [Commit(1, B, "draft", YES), Commit(2, C1, "draft", YES)]
    assert talk.all(GrantSteps) == [GrantSteps(draft, 1), GrantSteps(draft, 1)]
    assert talk.all(CloseLane) == [CloseLane(fallback)]
    assert talk.only(OpenLane).prefix == (A.text, B.text, C1.text)


def test_a_rejection_discards_later_steps_and_waits_for_the_target() -> None:
    talk = Talk()
    talk.writes("draft", A)
    talk.writes("draft", B)
    talk.judges(NO)
    assert talk.said == [
        Reject(0, A, NO),
        Discard(1, B, "draft", "followed a rejected step"),
        CloseLane(0),
    ]
    talk.writes("target", OWN)
    assert talk.only(Commit) == Commit(0, OWN, "target")
    assert [(c.role, c.prefix) for c in talk.all(OpenLane)] == [
        ("draft", (OWN.text,)),
        ("target", (OWN.text,)),
    ]


def test_a_complete_fallback_is_committed_with_the_rejection() -> None:
    talk = Talk()
    talk.writes("draft", A)
    assert talk.writes("target", OWN) == []  # a complete drafted step gets its verdict first
    talk.judges(NO)
    assert talk.only(Commit) == Commit(0, OWN, "target")


def test_an_accepted_step_wins_over_a_complete_fallback() -> None:
    talk = Talk()
    talk.writes("draft", A)
    talk.writes("target", OWN)
    talk.judges(YES)
    assert talk.only(Commit).step is A
    assert talk.only(Discard).step is OWN


def test_the_target_does_not_wait_for_a_slow_draft() -> None:
    talk = Talk()
    talk.writes("target", OWN)
    assert talk.only(Commit).source == "target"
    assert talk.all(CloseLane) == [CloseLane(1), CloseLane(0)]


def test_when_deterministic_the_run_waits_for_the_draft() -> None:
    talk = Talk(deterministic=True)
    assert talk.writes("target", OWN) == []
    talk.writes("draft", A)
    talk.judges(YES)
    assert talk.only(Commit).source == "draft"


def test_a_drafted_answer_is_discarded_and_the_target_answers() -> None:
    talk = Talk()
    talk.writes("draft", ANSWER, "stop")
    assert talk.only(Discard).step is ANSWER
    assert not talk.all(Judge)
    talk.writes("target", OWN)
    assert {c.role for c in talk.all(OpenLane)} == {"draft", "target"}
    talk.writes("target", ANSWER, "stop")
    assert talk.only(Finished) == Finished("answer")


def test_a_draft_end_after_judged_steps_is_in_the_call_and_decides_nothing() -> None:
    talk = Talk()
    talk.writes("draft", A)
    talk.writes("draft", B)
    talk.writes("draft", ANSWER, "stop")
    talk.judges(YES)
    assert talk.only(Judge) == Judge(1, (A.text,), (B, ANSWER))
    talk.judges(YES, YES)
    assert [commit.step for commit in talk.all(Commit)] == [B]
    assert talk.only(Discard).step is ANSWER
    assert talk.only(OpenLane).role == "target"


def test_a_drafted_end_without_delimiter_is_discarded_too() -> None:
    talk = Talk()
    talk.writes("draft", step("so", Ending.END), "stop")
    assert len(talk.all(Discard)) == 1


def test_a_verified_answer_ends_the_run() -> None:
    talk = Talk(final_answer="draft")
    talk.writes("draft", ANSWER, "stop")
    talk.judges(YES)
    assert talk.only(Commit) == Commit(0, ANSWER, "draft", YES, last=True)
    assert talk.said[-1] == Finished("answer")


def test_after_a_rejected_answer_the_target_ends_the_run() -> None:
    talk = Talk(final_answer="draft")
    talk.writes("draft", ANSWER, "stop")
    talk.judges(NO)
    assert talk.only(Reject).step is ANSWER
    assert not talk.all(Finished)


def test_a_cut_step_is_rejected_without_a_judge_call_and_closes_the_draft() -> None:
    talk = Talk()
    talk.writes("draft", CUT)
    assert talk.only(Reject).verdict.reason == "cut by the length cap"
    assert talk.only(CloseLane).lane == 0
    assert not talk.all(Judge)


def test_steps_before_a_cut_one_are_judged_and_nothing_is_drafted_after_it() -> None:
    talk = Talk()
    talk.writes("draft", A)
    assert talk.writes("draft", CUT) == [CloseLane(0)]
    talk.judges(YES)
    assert [c.step for c in talk.all(Commit)] == [A]
    assert [c.step for c in talk.all(Reject)] == [CUT]


def test_an_idle_fallback_does_not_begin_while_a_verdict_is_pending() -> None:
    talk = Talk(fallback="idle")
    assert "target" in talk.lanes
    talk.writes("draft", A)
    talk.writes("draft", B)
    talk.judges(YES)
    assert "target" not in talk.lanes
    talk.judges(YES)
    assert "target" in talk.lanes


def test_without_fallback_the_target_writes_only_after_a_rejection() -> None:
    talk = Talk(fallback="on-reject")
    assert "target" not in talk.lanes
    talk.writes("draft", A)
    talk.judges(NO)
    assert talk.only(OpenLane).role == "target"


def test_an_empty_draft_falls_back_for_one_step() -> None:
    talk = Talk(fallback="on-reject")
    talk.writes("draft", None, "stop")
    assert talk.only(OpenLane).role == "target"
    talk.writes("target", OWN)
    assert talk.only(OpenLane) == OpenLane(2, "draft", (OWN.text,), 8, 4093)


def test_without_draft_the_target_continues_alone_in_one_stream() -> None:
    talk = Talk()
    talk.tell(LaneFailed(0, "gone", lost=True))
    assert "gone" in talk.only(Warn).message
    talk.writes("target", OWN)  # the fallback, which may write one step
    assert talk.only(OpenLane).credit == 256
    for _ in range(3):
        assert [type(c) for c in talk.writes("target", OWN)] == [Commit]


def test_steps_drafted_before_the_loss_are_still_judged() -> None:
    talk = Talk()
    talk.writes("draft", A)
    talk.writes("draft", B)
    talk.tell(LaneFailed(0, "gone", lost=True))
    talk.judges(YES)
    assert talk.only(OpenLane).credit == 1  # a verdict may come before its second step
    talk.judges(YES)
    assert talk.only(Commit).step is B
    assert talk.only(OpenLane).credit == 256


def test_a_draft_that_fails_three_times_is_given_up() -> None:
    talk = Talk()
    for failures in (1, 2, 3):
        talk.tell(LaneFailed(talk.lanes.pop("draft"), "busy"))
        assert ("alone" in talk.only(Warn).message) == (failures == 3)
        talk.writes("target", OWN)
    assert "draft" not in talk.lanes


def test_a_failed_judge_call_is_a_rejection() -> None:
    talk = Talk()
    talk.writes("draft", A)
    talk.tell(JudgeFailed(talk.call, "overloaded"))
    assert "overloaded" in talk.only(Warn).message
    assert not talk.only(Reject).verdict.accepted


@pytest.mark.parametrize("by", ["lane", "judge"])
def test_a_lost_target_ends_the_run_and_closes_everything(by: str) -> None:
    talk = Talk()
    talk.writes("draft", A)
    if by == "lane":
        talk.tell(LaneFailed(talk.lanes["target"], "gone", lost=True))
        assert talk.all(CancelJudge)
    else:
        talk.tell(JudgeFailed(talk.call, "gone", lost=True))
        assert len(talk.all(CloseLane)) == 2
    assert talk.only(Discard).step is A
    assert talk.said[-1] == Finished("failed", "gone")


def test_a_target_that_stops_without_an_answer_ends_the_run() -> None:
    talk = Talk()
    talk.writes("target", step("so four", Ending.END), "stop")
    assert talk.only(Commit).source == "target"
    assert talk.only(Finished) == Finished("stop")


def test_a_target_at_its_token_limit_ends_the_run_with_a_warning() -> None:
    talk = Talk()
    talk.writes("target", CUT, "length")
    assert talk.only(Commit).step is CUT
    assert "limit" in talk.only(Warn).message
    assert talk.only(Finished) == Finished("length")


def test_a_cut_step_of_the_target_is_committed_with_a_warning() -> None:
    talk = Talk()
    talk.writes("target", CUT)
    assert "cap" in talk.only(Warn).message
    assert "draft" in talk.lanes


@pytest.mark.parametrize("limit", [{"max_steps": 1}, {"max_tokens": 3}])
def test_a_limit_ends_the_run_with_the_steps_so_far(limit: dict[str, int]) -> None:
    talk = Talk(**limit)
    talk.writes("draft", A)
    talk.writes("draft", B)
    talk.judges(YES)
    assert "limit" in talk.only(Warn).message
    assert talk.only(Discard) == Discard(1, B, "draft", "run ended")
    assert talk.said[-1] == Finished("length")
