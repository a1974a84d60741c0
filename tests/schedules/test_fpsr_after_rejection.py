"""What the draft does after a rejection: it resamples, or predicts the target's step."""

from __future__ import annotations

import pytest

from dreamr.schedules import (
    CancelJudge,
    CloseLane,
    Commit,
    Discard,
    GrantSteps,
    Judge,
    Judged,
    LaneFailed,
    OpenLane,
    Reject,
    ScheduleConfig,
    StepDone,
    Warn,
)
from support.fpsr_talk import ANSWER, C1, CUT, NO, NO_BUT, OWN, SURE, YES, A, B, Talk, step


def resampled(resamples: int = 2) -> tuple[Talk, list[int]]:
    """After a rejection, with the lanes of the resamples."""
    talk = Talk(resamples=resamples)
    talk.writes("draft", A)
    talk.judges(NO_BUT)
    return talk, [lane.lane for lane in talk.all(OpenLane) if lane.resample]


def test_after_a_rejection_other_candidates_are_drawn_while_the_target_writes() -> None:
    talk, lanes = resampled()
    opened = talk.all(OpenLane)
    assert [(lane.role, lane.resample, lane.credit) for lane in opened] == [
        ("draft", 1, 1),
        ("draft", 2, 1),
    ]
    assert talk.tell(StepDone(lanes[0], B))[-1] == Judge(1, (), (B,), resamples=1)
    talk.tell(Judged(1, (YES,)))
    assert talk.only(Commit) == Commit(0, B, "draft", YES)
    assert [lane.lane for lane in talk.all(CloseLane)] == [1, lanes[1]]
    assert [lane.role for lane in talk.all(OpenLane)] == ["draft", "target"]


def test_resampled_candidates_are_judged_one_at_a_time() -> None:
    talk, lanes = resampled()
    talk.tell(StepDone(lanes[1], B))
    assert not [c for c in talk.tell(StepDone(lanes[0], C1)) if isinstance(c, Judge)]
    assert talk.tell(Judged(1, (NO,))) == [Reject(0, B, NO), Judge(2, (), (C1,), resamples=1)]


def test_resampling_never_delays_the_target() -> None:
    talk, lanes = resampled()
    talk.tell(StepDone(lanes[0], B))
    talk.writes("target", OWN)
    assert talk.only(Commit) == Commit(0, OWN, "target")
    assert talk.only(CancelJudge)
    assert talk.only(Discard).step == B
    assert lanes[1] in [lane.lane for lane in talk.all(CloseLane)]


def test_a_duplicate_candidate_is_discarded_without_a_judge_call() -> None:
    talk, lanes = resampled()
    talk.tell(StepDone(lanes[0], A))
    assert talk.only(Discard).why == "same text as an earlier candidate"
    assert not talk.all(Judge)


def test_a_candidate_that_ends_the_reasoning_or_is_cut_is_discarded() -> None:
    talk, lanes = resampled()
    talk.tell(StepDone(lanes[0], ANSWER, "stop"))
    assert not talk.all(Judge)
    talk.tell(StepDone(lanes[1], CUT))
    assert not talk.all(Judge)


def test_a_candidate_that_the_gate_accepts_without_the_target_is_committed_unjudged() -> None:
    talk, lanes = resampled()
    talk.tell(StepDone(lanes[0], B, None, SURE))
    assert talk.only(Commit) == Commit(0, B, "draft", SURE)
    assert not talk.all(Judge)


def test_of_a_confident_candidate_that_repeats_an_earlier_one_nothing_is_committed() -> None:
    talk, lanes = resampled()
    talk.tell(StepDone(lanes[0], A, None, SURE))
    assert talk.only(Discard).why == "same text as an earlier candidate"
    assert not talk.all(Commit)


def test_a_candidate_that_fails_leaves_the_others() -> None:
    talk, lanes = resampled()
    assert [type(c) for c in talk.tell(LaneFailed(lanes[0], "gone"))] == [Warn]
    assert talk.tell(StepDone(lanes[1], B))[-1] == Judge(1, (), (B,), resamples=2)


def test_resampling_and_determinism_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="timing"):
        ScheduleConfig(resamples=1, deterministic=True)
    with pytest.raises(ValueError, match="resamples"):
        ScheduleConfig(resamples=-1)


def test_after_a_rejection_the_draft_predicts_the_targets_step() -> None:
    talk = Talk()
    talk.writes("draft", A)
    talk.judges(NO_BUT)
    assert talk.all(CloseLane) == [CloseLane(0)]
    assert talk.only(OpenLane) == OpenLane(2, "draft", (), 8, 4096, begun="ow")
    assert talk.writes("draft", OWN) == []  # the target itself writes what is committed here
    assert talk.writes("draft", B) == []


def test_after_a_right_prediction_the_next_steps_are_judged_at_once() -> None:
    talk = Talk()
    talk.writes("draft", A)
    talk.judges(NO_BUT)
    talk.writes("draft", OWN)
    talk.writes("draft", B)
    talk.writes("target", OWN)
    assert talk.only(Commit) == Commit(0, OWN, "target")
    assert talk.only(Discard).step is OWN
    assert talk.only(Judge) == Judge(1, (OWN.text,), (B,))
    assert talk.only(GrantSteps).lane == talk.lanes["draft"]
    assert talk.only(OpenLane).role == "target"


def test_after_a_wrong_prediction_the_draft_restarts() -> None:
    talk = Talk()
    talk.writes("draft", A)
    talk.judges(NO_BUT)
    talk.writes("draft", step("owl\n\n"))
    talk.writes("draft", B)
    talk.writes("target", OWN)
    assert talk.only(Commit) == Commit(0, OWN, "target")
    assert len(talk.all(Discard)) == 2
    assert not talk.all(Judge)
    assert {(c.role, c.begun) for c in talk.all(OpenLane)} == {("draft", ""), ("target", "")}


@pytest.mark.parametrize("why", ["deterministic", "the target was quicker"])
def test_the_draft_predicts_nothing_when_deterministic_or_too_late(why: str) -> None:
    talk = Talk(deterministic=why == "deterministic")
    talk.writes("draft", A)
    if why != "deterministic":
        talk.writes("target", OWN)
    talk.judges(NO_BUT)
    assert not any(command.begun for command in talk.all(OpenLane))
