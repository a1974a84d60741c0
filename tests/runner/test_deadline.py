"""Decisions about deadlines: stages from the time left and measured durations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.gate import Verdict
from dreamr.runner.deadline import Deadline, RoundTimes
from dreamr.schedules import STAGES
from dreamr.steps import Ending, Step
from dreamr.trace import JudgeEnded, JudgeStarted, StepCommitted

SECONDS = st.floats(0, 1000)
KNOWN = st.none() | SECONDS
YES = Verdict(True, 1.0, 0.5, "yes", kind="none")


@given(SECONDS, KNOWN, KNOWN, SECONDS, SECONDS)
def test_stages_follow_each_other_as_time_runs_out(
    seconds: float, answer: float | None, one_round: float | None, left: float, less: float
) -> None:
    deadline = Deadline(seconds, answer_seconds=answer)
    earlier, later = deadline.stage(left + less, one_round), deadline.stage(left, one_round)
    order = (None, *STAGES)
    assert order.index(earlier) <= order.index(later)


@given(SECONDS, KNOWN, KNOWN, SECONDS)
def test_no_stage_is_slept_through(
    seconds: float, answer: float | None, one_round: float | None, left: float
) -> None:
    deadline = Deadline(seconds, answer_seconds=answer)
    pause = deadline.pause(left, one_round)
    needs = [deadline.needed(stage, one_round) for stage in STAGES]
    assert pause > 0
    assert all(left - pause >= need - 0.003 for need in needs if left > need)


def test_the_answer_begins_when_it_usually_still_fits() -> None:
    deadline = Deadline(60.0, answer_seconds=4.0)
    assert deadline.stage(30.0, 0.5) is None
    assert deadline.stage(8.0, 0.5) == "window"
    assert deadline.stage(6.4, 0.5) == "confidence"
    assert deadline.stage(5.0, 0.5) == "answer"
    assert deadline.stage(0.02, 0.5) == "best"


def test_an_answer_that_takes_longer_than_the_deadline_begins_at_once() -> None:
    assert Deadline(3.0, answer_seconds=10.0).stage(3.0) == "answer"


def test_without_measurements_a_share_of_the_deadline_counts() -> None:
    assert Deadline(8.0).stage(2.0) == "answer"
    assert Deadline(8.0).stage(2.1) == "confidence"
    assert Deadline(4000.0).stage(31.0) != "answer"


def test_a_round_is_a_committed_step_with_its_verdict() -> None:
    times, step = RoundTimes(), Step("a\n\n", 1, Ending.DELIMITER)
    assert times.seconds is None
    times.see(JudgeStarted(0.0, 0, (0,)))
    times.see(JudgeEnded(3.0, 0, (0,), (YES,)))
    assert times.seconds is None
    times.see(StepCommitted(1.0, 0, step, "draft", YES))
    assert times.seconds == 3.0
    for time in range(2, 30):
        times.see(StepCommitted(10.0 * time, time, step, "draft", YES))
    assert times.seconds == pytest.approx(10.0, rel=0.1)


def test_canceled_judge_calls_are_not_timed() -> None:
    times = RoundTimes()
    times.see(JudgeStarted(0.0, 0, (0,)))
    times.see(JudgeEnded(99.0, 0, (0,), ()))
    times.see(StepCommitted(1.0, 0, Step("a\n\n", 1, Ending.DELIMITER), "draft", YES))
    assert times.seconds == 1.0
