from __future__ import annotations

import pytest

from dreamr import RunOptions
from dreamr.gate import Verdict
from dreamr.server._load import Level, Load, Pace, pace_of
from dreamr.steps import Ending, Step
from dreamr.trace import (
    CommittedStep,
    Event,
    JudgeEnded,
    JudgeStarted,
    LaneClosed,
    LaneOpened,
    LanePaused,
    LaneResumed,
    Result,
    StepCommitted,
    StepRejected,
    Usage,
)

YES = Verdict(True, 0.9, 1.0, "")
NO = Verdict(False, 0.1, 1.0, "")
STEP = Step("So it is.\n\n", 10, Ending.DELIMITER)


def run(
    token: float, judge: float = 0.1, draft: float = 0.01, accepted: int = 9, refused: int = 1
) -> Result:
    """What a run measures: the target's token, a call on one step, the draft's token."""
    events: list[Event] = [
        LaneOpened(0.0, 0, "target", 0),
        LaneOpened(0.0, 1, "draft", 0),
        LaneClosed(1.0 + 10 * draft, 1, "stop", 11, 1.0),
        LaneClosed(1.0 + 20 * token, 0, "stop", 21, 1.0),
    ]
    for call in range(accepted + refused):
        events += [
            JudgeStarted(call, call, (call,)),
            JudgeEnded(call + judge, call, (call,), (YES,)),
        ]
    events += [StepCommitted(0.0, place, STEP, "draft", YES) for place in range(accepted)]
    events += [StepRejected(0.0, 0, STEP, NO)] * refused
    steps = tuple(CommittedStep(STEP, "draft", YES) for _ in range(accepted))
    return Result("", steps, Usage(), 1.0, "answer", events=tuple(events))


def test_a_pace_is_measured_from_the_first_token_on_without_pauses() -> None:
    events = (
        LaneOpened(0.0, 0, "draft", 0),
        LanePaused(3.0, 0),
        LaneResumed(5.0, 0),
        LaneClosed(7.0, 0, "cancelled", 5, 1.0),
        LaneOpened(0.0, 1, "target", 0),
        LaneClosed(9.0, 1, "cancelled", 0),
        JudgeStarted(1.0, 0, (0,)),
        JudgeEnded(2.0, 0, (0, 1), (YES, NO)),
        JudgeStarted(3.0, 1, (0,)),
        JudgeEnded(9.0, 1, (0,), (), "failed"),
        StepCommitted(2.0, 0, STEP, "draft", YES),
        StepRejected(2.0, 1, STEP, NO),
    )
    steps = (CommittedStep(STEP, "draft", YES),)
    found = pace_of(Result("", steps, Usage(), 9.0, "answer", events=events))
    assert found == Pace(target=None, draft=1.0, judge=1.0, accepted=0.5, step=10.0, judged=2.0)


def levels(load: Load, runs: int, token: float, **paces: float) -> list[Level]:
    found = []
    for _ in range(runs):
        found.append(load.shape(RunOptions())[1])
        load.learn(run(token, **paces), alone=False)  # type: ignore[arg-type]
    return found


def test_the_hedge_goes_first_then_the_window_then_speculation() -> None:
    load = Load()
    for _ in range(3):
        load.learn(run(0.02), alone=True)
    assert load.level is Level.FULL
    assert levels(load, 30, 0.028)[-1] is Level.NO_HEDGE
    assert levels(load, 30, 0.04)[-1] is Level.SMALL_WINDOW
    assert levels(load, 60, 0.04, judge=0.9)[-2:] == [Level.TARGET_ALONE] * 2
    assert levels(load, 90, 0.02)[-1] is Level.FULL


def test_a_few_slow_verdicts_end_nothing() -> None:
    load = Load()
    load.learn(run(0.02), alone=True)
    assert Level.TARGET_ALONE not in levels(load, 6, 0.08, judge=9.0)


def test_a_target_with_room_is_speculated_for_whatever_it_gains() -> None:
    load = Load()
    for _ in range(30):
        load.learn(run(0.02, judge=9.0), alone=True)
    assert load.level is Level.FULL


def test_a_slow_target_is_no_loaded_one() -> None:
    load = Load()
    for _ in range(9):
        load.learn(run(0.5), alone=True)
    assert load.level is Level.FULL


def test_the_gain_is_that_of_the_closed_form() -> None:
    load = Load()
    load.learn(run(0.02, judge=0.1, draft=0.01), alone=True)
    # Ten tokens of 0.02 s alone; ahead max(0.1, 0.1), and one of ten is written after all.
    assert load.gain == pytest.approx(0.2 / (0.1 + 0.1 * (0.2 + 0.1)))


def test_where_speculation_has_stopped_one_run_of_sixteen_looks_whether_it_pays_again() -> None:
    load = Load()
    load.learn(run(0.02), alone=True)
    levels(load, 40, 0.04, judge=0.9)
    found = [load.shape(RunOptions())[1] for _ in range(32)]
    assert found.count(Level.SMALL_WINDOW) == 2
    assert found.count(Level.TARGET_ALONE) == 30
    levels(load, 40, 0.02)
    assert load.level is Level.FULL


def test_options_are_pared_down_level_by_level() -> None:
    load = Load()
    load.learn(run(0.02), alone=True)
    levels(load, 40, 0.028)
    assert load.shape(RunOptions(window=6))[0] == RunOptions(window=6, hedge="never")
    levels(load, 40, 0.05)
    assert load.shape(RunOptions(window=6))[0] == RunOptions(window=2, hedge="never")
    assert load.shape(RunOptions(window=1))[0] == RunOptions(window=1, hedge="never")


@pytest.mark.parametrize("method", ["target", "sequential", "parse"])
def test_another_method_is_what_somebody_asked_for(method: str) -> None:
    load = Load()
    load.learn(run(0.02, judge=9.0), alone=True)
    options = RunOptions(method=method)  # type: ignore[arg-type]
    assert load.shape(options) == (options, Level.FULL)


def test_a_gateway_that_is_not_aware_of_load_gives_nothing_up() -> None:
    load = Load(aware=False)
    load.learn(run(0.02, judge=9.0), alone=True)
    assert load.shape(RunOptions()) == (RunOptions(), Level.FULL)
    assert load.level is Level.FULL
