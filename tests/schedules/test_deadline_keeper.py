"""Schedules whose deadline comes near: stages, the answer in reserve, and the best one at the end.

Virtual runs with whole engines are in `tests/runner/test_deadline_watch.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dreamr.gate import Verdict
from dreamr.schedules import (
    METHODS,
    CancelJudge,
    CloseLane,
    Commit,
    Discard,
    ExtendJudge,
    Finished,
    GrantSteps,
    LaneFailed,
    OpenLane,
    Reject,
    ScheduleConfig,
    StepDone,
    Stop,
    TextLimits,
    TimeShort,
    Warn,
    by_name,
)
from dreamr.steps import Ending, Step
from support.fpsr_talk import ANSWER, C1, NO, OWN, YES, A, B, Talk, step

CLOSING = "</think>\n\n"
THINKING = TextLimits(opens_thought=True)
SURE = [replace(one, logprob=-0.1, min_logprob=-0.1) for one in (A, B, C1)]
UNSURE = replace(C1, logprob=-3.0, min_logprob=-3.0)


def hurried(text: TextLimits = THINKING, **options: Any) -> Talk:
    return Talk(text=text, hurries=True, **options)


def part(text: str, tokens: int = 2) -> Step:
    return Step(text, tokens, Ending.CAP)


def answering() -> Talk:
    """Return a run whose thought was closed after A, so that both models answer."""
    talk = hurried()
    talk.writes("draft", A)
    talk.judges(YES)
    talk.tell(TimeShort("answer"))
    return talk


def test_a_smaller_window_withholds_the_steps_that_are_too_many() -> None:
    talk = hurried(window=4, fallback="on-reject")
    for drafted in (A, B, C1):
        talk.writes("draft", drafted)
    talk.tell(TimeShort("window"))
    granted = []
    for later in ("d", "e", "f"):
        talk.judges(YES)
        granted += talk.all(GrantSteps)
        talk.writes("draft", step(f"{later}\n\n"))
    assert len(granted) == 1, "two of three are withheld"


def test_steps_that_the_draft_is_confident_of_are_accepted_and_their_call_ends() -> None:
    talk = hurried()
    for drafted in SURE[:2]:
        talk.writes("draft", drafted)
    talk.tell(TimeShort("confidence"))
    commits = talk.all(Commit)
    assert [commit.step for commit in commits] == SURE[:2]
    assert all(commit.verdict.kind == "draft_probability" for commit in commits if commit.verdict)
    assert talk.only(CancelJudge).call == talk.call


def test_a_call_goes_on_for_a_step_in_doubt() -> None:
    talk = hurried()
    for drafted in (SURE[0], UNSURE):
        talk.writes("draft", drafted)
    talk.tell(TimeShort("confidence"))
    assert [commit.step for commit in talk.all(Commit)] == [SURE[0]]
    assert not talk.all(CancelJudge)


@pytest.mark.parametrize("method", ["fpsr", "lookahead"])
def test_verdicts_that_come_after_a_confident_step_are_about_the_steps_after_it(
    method: str,
) -> None:
    talk = hurried(method=method, judge_batch="window")
    first, doubtful, later = SURE[0], UNSURE, replace(UNSURE, text="later\n\n")
    for drafted in (first, doubtful):
        talk.writes("draft", drafted)
    if method == "lookahead":
        for lane in talk.opened["target"][:2][::-1]:
            talk.tell(StepDone(lane, OWN))
    talk.tell(TimeShort("confidence"))
    assert [commit.step for commit in talk.all(Commit)] == [first]
    if method == "fpsr":
        talk.writes("draft", later)
        assert talk.only(ExtendJudge).candidates == (later,)
    talk.judges(YES, NO, YES)
    assert [reject.step for reject in talk.all(Reject)] == [doubtful]
    assert later not in [commit.step for commit in talk.all(Commit)]


def test_a_stream_of_the_target_that_ended_without_a_step_leaves_the_drafts_answer() -> None:
    talk = hurried(
        TextLimits(answer_marker="Answer:"), independent=True, judge_batch="step", prefill=False
    )
    talk.writes("draft", A)
    talk.writes("draft", ANSWER, "stop")
    talk.writes("target", None, "stop")
    talk.tell(TimeShort("best"))
    assert talk.only(Finished).finish == "deadline"
    assert talk.only(Commit).step.text == A.text + ANSWER.text


def test_the_thought_is_closed_and_both_models_answer() -> None:
    talk = answering()
    assert talk.only(Commit).step.text == CLOSING
    assert [(lane.role, lane.prefix) for lane in talk.all(OpenLane)] == [
        ("target", (A.text, CLOSING)),
        ("draft", (A.text, CLOSING)),
    ]
    assert talk.only(Warn).message == (
        "the deadline is near: the thought is closed, and the target answers"
    )


def test_the_targets_answer_ends_the_run_and_drops_the_drafts() -> None:
    talk = answering()
    talk.writes("draft", step("Four.\n\n"))
    talk.writes("target", ANSWER, "stop")
    assert talk.only(Commit).source == "target"
    assert talk.only(Discard).why == "the target answered"
    assert talk.only(Finished).finish == "answer"


def test_a_complete_answer_of_the_draft_is_better_than_a_part_of_the_targets() -> None:
    talk = answering()
    talk.writes("draft", ANSWER, "stop")
    target = talk.lanes["target"]
    talk.tell(TimeShort("best", {target: part("Answ")}))
    commit = talk.only(Commit)
    assert (commit.step.text, commit.source, commit.last) == (ANSWER.text, "draft", True)
    assert talk.only(Finished) == Finished("deadline")
    assert CloseLane(target) in talk.said


def test_a_part_of_the_targets_answer_is_better_than_a_part_of_the_drafts() -> None:
    talk = answering()
    lanes = dict(talk.lanes)
    talk.tell(TimeShort("best", {lanes["target"]: part("It"), lanes["draft"]: part("Four is")}))
    commit = talk.only(Commit)
    assert (commit.step, commit.source) == (part("It"), "target")


def test_the_last_thought_is_better_than_nothing() -> None:
    talk = answering()
    talk.tell(TimeShort("best"))
    assert talk.only(Commit).step.text == "a"


def test_an_open_thought_is_closed_before_its_last_words_are_the_answer() -> None:
    talk = hurried()
    talk.writes("draft", A)
    talk.judges(YES)
    talk.tell(TimeShort("best"))
    assert talk.only(Commit).step.text == f"{CLOSING}a"


def test_without_a_word_the_deadline_is_an_error() -> None:
    talk = hurried()
    talk.tell(TimeShort("best"))
    assert not talk.all(Commit)
    assert talk.only(Finished).error == "the deadline has passed before a model wrote anything"


def test_a_rejected_step_is_not_the_best_answer() -> None:
    talk = hurried(TextLimits(answer_marker="Answer:"), final_answer="draft")
    talk.writes("draft", step("Answer: 5", Ending.ANSWER), "stop")
    talk.judges(Verdict(False, 0.1, 0.7, "", kind="ratio"))
    talk.tell(TimeShort("best", {talk.lanes["target"]: part("Well")}))
    assert talk.only(Commit).step == part("Well")


def test_reasoning_in_the_open_is_ended_by_the_marker() -> None:
    talk = hurried(TextLimits(answer_marker="Answer:"))
    talk.writes("draft", A)
    talk.judges(YES)
    talk.tell(TimeShort("answer"))
    assert {lane.begun for lane in talk.all(OpenLane)} == {"Answer:"}


def test_a_marker_without_an_answer_is_not_the_best_answer() -> None:
    talk = hurried(TextLimits(answer_marker="Answer:"))
    talk.writes("draft", A)
    talk.judges(YES)
    talk.tell(TimeShort("answer"))
    talk.tell(TimeShort("best", {talk.lanes["target"]: part("Answer: ")}))
    assert not talk.all(Commit)
    assert talk.only(Finished) == Finished("deadline")


def test_an_answer_that_the_target_has_begun_goes_on() -> None:
    talk = hurried(TextLimits(answer_marker="Answer:"))
    talk.writes("draft", A)
    talk.judges(YES)
    talk.tell(TimeShort("answer", {talk.lanes["target"]: part("Answer: tw")}))
    assert talk.said == []


def test_a_lost_draft_leaves_the_targets_answer() -> None:
    talk = answering()
    talk.tell(LaneFailed(talk.lanes["draft"], "gone", lost=True))
    talk.writes("target", OWN)
    assert talk.only(Commit).step == OWN


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("text", [THINKING, TextLimits(answer_marker="Answer:")])
def test_each_method_ends_at_any_stage_and_leaves_nothing_open(
    method: str, text: TextLimits
) -> None:
    for end in (TimeShort("best"), Stop()):
        for before in ([], [TimeShort("answer")], [TimeShort("window"), TimeShort("confidence")]):
            schedule = by_name(method, ScheduleConfig(text=text, hurries=True))
            commands = list(schedule.start())
            for signal in (*before, end):
                commands += schedule.handle(signal)
            opened = {c.lane for c in commands if isinstance(c, OpenLane)}
            assert opened == {c.lane for c in commands if isinstance(c, CloseLane)}
            assert isinstance(commands[-1], Finished)
