"""Costs of a pair, measured in runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr._costs import Costs, RunCosts
from dreamr.gate import Verdict
from dreamr.steps import Ending, Step
from dreamr.trace import (
    Event,
    JudgeEnded,
    JudgeStarted,
    LaneClosed,
    LaneOpened,
    LanePaused,
    StepCommitted,
    StepReady,
    StepRejected,
)

STEP = Step("a step\n\n", 5, Ending.DELIMITER)
NO, YES = (Verdict(accepted, 0.5, 0.7, "", kind="ratio") for accepted in (False, True))
RUN: list[Event] = [
    LaneOpened(0.0, 0, "draft", 0),
    StepReady(0.5, 0, "draft", 0, STEP),
    JudgeStarted(0.5, 0, (0,)),
    StepReady(0.8, 0, "draft", 1, STEP),
    LanePaused(0.8, 0),
    JudgeEnded(0.7, 0, (0,), (NO,)),
    StepRejected(0.7, 0, STEP, NO),
    StepReady(3.0, 0, "draft", 2, STEP),  # received while the lane was paused
    LaneClosed(3.0, 0, "canceled", 15, 0.1),
    LaneOpened(1.0, 1, "target", 0),
    LaneOpened(1.0, 2, "draft", 0, 1),
    LaneOpened(1.0, 3, "draft", 0, 2),
    StepReady(1.4, 2, "draft", 0, STEP),
    JudgeStarted(1.4, 1, (0,)),
    JudgeEnded(1.8, 1, (0,), (YES,)),
    StepCommitted(1.8, 0, STEP, "draft", YES),
    StepReady(3.0, 1, "target", 0, STEP),
]


def test_costs_are_read_from_the_events_of_a_run() -> None:
    costs = RunCosts.of(RUN)
    assert costs.draft_step == pytest.approx((0.5 + 0.3 + 0.4) / 3)
    assert costs.target_step == pytest.approx(2.0)
    assert costs.judge == pytest.approx((0.2 + 0.4) / 2)
    assert (costs.candidates, costs.accepted) == (2, 1)


def test_candidates_for_a_step_that_is_accepted_say_nothing_about_resampling() -> None:
    accepted = [event for event in RUN if not isinstance(event, StepRejected)]
    costs = RunCosts.of(accepted)
    assert (costs.candidates, costs.accepted) == (0, 0)


def test_nothing_is_resampled_before_all_costs_are_known() -> None:
    assert Costs().resamples == 0
    assert Costs(draft_step=0.1, judge=0.01).resamples == 0


def test_a_target_whose_steps_take_no_time_needs_no_resamples() -> None:
    assert Costs(draft_step=0.1, target_step=0.0, judge=0.01).resamples == 0


def test_cheap_drafts_and_judge_calls_make_resamples_pay() -> None:
    assert Costs(draft_step=0.1, target_step=1.0, judge=0.05).resamples >= 2
    assert Costs(draft_step=0.8, target_step=1.0, judge=0.3).resamples == 0


def test_candidates_that_are_never_accepted_are_given_up_and_tried_again_later() -> None:
    costs = Costs(draft_step=0.1, target_step=1.0, judge=0.05)
    for _ in range(30):
        costs = costs.after(RunCosts(candidates=2))
    assert costs.resamples == 0
    for _ in range(300):
        costs = costs.after(RunCosts())
    assert costs.resamples > 0


SECONDS = st.floats(0.001, 100.0)


@given(SECONDS, SECONDS, SECONDS, st.floats(0.1, 50), st.floats(0.1, 50))
def test_slower_judge_calls_never_lead_to_more_resamples(
    draft: float, target: float, judge: float, accepted: float, rejected: float
) -> None:
    def resamples(judge: float) -> int:
        return Costs(draft, target, judge, accepted, rejected).resamples

    assert 0 <= resamples(2 * judge) <= resamples(judge) <= 3
