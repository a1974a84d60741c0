from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dreamr import RunOptions
from dreamr._costs import Costs
from dreamr._load import JudgeTimes, Level, Load, Pace, PairLoad, pace_of
from dreamr.gate import Verdict
from dreamr.runner import RunConfig
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
    Usage,
)

STEP = Step("So it is.\n\n", 10, Ending.DELIMITER)


def run(token: float, seconds: float, *, judged: int | bool = 1) -> Result:
    """Return a run of 100 tokens with the given seconds per target token."""
    events: list[Event] = [
        LaneOpened(0.0, 0, "target", 0),
        LaneClosed(1.0 + 20 * token, 0, "stop", 21, 1.0),
    ]
    steps = tuple(CommittedStep(STEP, "draft") for _ in range(10))
    usage = Usage(judge_calls=int(judged))
    return Result("", steps, usage, seconds, "answer", events=tuple(events))


class Busy:
    """A pair that others use too."""

    running = 2


BUSY = Busy()


def shaped_by(load: Load, options: RunOptions) -> RunOptions:
    """Return the options of the next run."""
    with load.run(options, concurrency=BUSY) as shaped:
        return shaped.options


def quiet(token: float = 0.02) -> Load:
    """Return load control that has measured an idle target."""
    load = Load()
    load.learn(run(token, 3.0, judged=0), alone=True)
    return load


def levels(load: Load, runs: int, token: float, seconds: float) -> list[Level]:
    """Return the levels of a number of runs; `seconds` are those with speculation."""
    found = []
    for _ in range(runs):
        with load.run(RunOptions(), concurrency=BUSY) as shaped:
            found.append(shaped.level)
            alone = shaped.level is Level.TARGET_ALONE
            shaped.learn(run(token, 1 + 99 * token if alone else seconds, judged=not alone))
    return found


def test_the_targets_speed_is_measured_from_its_first_token_without_pauses() -> None:
    events = (
        LaneOpened(0.0, 0, "draft", 0),
        LaneOpened(0.5, 1, "target", 0),
        LanePaused(3.0, 1),
        LaneResumed(5.0, 1),
        LaneClosed(12.0, 1, "canceled", 11, 2.0),
        LaneClosed(9.0, 0, "stop", 99, 1.0),
        # Too short to measure, and empty.
        LaneOpened(0.0, 2, "target", 3),
        LaneClosed(99.0, 2, "canceled", 4, 1.0),
        LaneOpened(0.0, 3, "target", 3),
        LaneClosed(99.0, 3, "canceled", 0),
    )
    assert pace_of(events) == Pace(first=1.5, token=0.8)


def test_the_fallback_is_dropped_first_then_the_window_shrinks() -> None:
    load = quiet()
    assert levels(load, 20, 0.020, 1.0)[-1] is Level.FULL
    assert levels(load, 30, 0.026, 1.0)[-1] is Level.NO_FALLBACK
    assert levels(load, 30, 0.050, 1.0)[-1] is Level.SMALL_WINDOW
    assert levels(load, 60, 0.020, 1.0)[-1] is Level.FULL


def test_speculation_stops_where_runs_take_longer_than_the_target_alone() -> None:
    load = quiet()
    # A hundred tokens: 1 s to the first, and 99 of 0.02 s; 3 s.
    assert Level.TARGET_ALONE not in levels(load, 20, 0.02, 2.5)
    assert levels(load, 30, 0.02, 3.5)[-1] is Level.TARGET_ALONE


def test_a_few_slow_runs_do_not_stop_speculation() -> None:
    assert Level.TARGET_ALONE not in levels(quiet(), 5, 0.02, 30.0)


def test_the_target_alone_is_not_tried_where_even_an_idle_one_would_be_slower() -> None:
    assert Level.TARGET_ALONE not in levels(quiet(0.02), 300, 0.05, 2.0)


def test_a_busy_target_does_not_make_speculation_look_good() -> None:
    """Judge calls that read much of a prompt again slow the tokens of the target too."""
    load = Load()
    found = []
    for _ in range(100):
        with load.run(RunOptions(), concurrency=BUSY, coarse_cache=True) as shaped:
            found.append(shaped.level)
            alone = shaped.level is Level.TARGET_ALONE
            shaped.learn(run(0.02, 3.0, judged=0) if alone else run(0.5, 10.0))
    assert found[-20:] == [Level.TARGET_ALONE] * 20
    assert load.gain == pytest.approx(0.3)


def test_speculation_resumes_when_it_pays_again() -> None:
    load = quiet()
    levels(load, 20, 0.02, 9.0)
    assert load.level is Level.TARGET_ALONE
    levels(load, 300, 0.02, 1.0)
    assert load.level is Level.FULL


def test_a_lost_draft_leaves_the_target_alone() -> None:
    with Load().run(RunOptions(), concurrency=BUSY, draft_lost=True) as shaped:
        assert shaped.level is Level.TARGET_ALONE
        assert shaped.options.method == "target"


def test_a_slow_target_does_not_count_as_loaded() -> None:
    load = quiet(0.5)
    levels(load, 20, 0.5, 10.0)
    assert load.level is Level.FULL


def test_predicted_tokens_do_not_lower_the_measured_time() -> None:
    load = quiet(0.02)
    levels(load, 20, 0.0001, 1.0)
    assert load.stretch == 1.0
    assert load.alone_seconds(run(0.02, 1.0)) == pytest.approx(1.0 + 99 * 0.02)


def test_options_are_reduced_level_by_level() -> None:
    load = quiet()
    levels(load, 40, 0.026, 1.0)
    assert shaped_by(load, RunOptions(window=6)) == RunOptions(window=6, fallback="on-reject")
    levels(load, 40, 0.05, 1.0)
    assert shaped_by(load, RunOptions(window=6)) == RunOptions(window=2, fallback="on-reject")
    assert shaped_by(load, RunOptions(window=1)) == RunOptions(window=1, fallback="on-reject")
    levels(load, 40, 0.05, 99.0)
    assert shaped_by(load, RunOptions(window=6)) == RunOptions(window=6, method="target")


@pytest.mark.parametrize("method", ["target", "sequential", "parse"])
def test_a_requested_method_is_not_reduced(method: str) -> None:
    load = quiet()
    levels(load, 40, 0.05, 99.0)
    options = RunOptions(method=method)  # type: ignore[arg-type]
    assert shaped_by(load, options) == options


def test_a_gateway_without_load_control_keeps_all_speculation() -> None:
    load = Load(aware=False)
    levels(load, 40, 0.05, 99.0)
    assert shaped_by(load, RunOptions()) == RunOptions()
    assert load.level is Level.FULL


SERVED = RunOptions(target="http://target/v1", draft="http://draft/v1")
RESAMPLING = Costs(draft_step=0.1, target_step=1.0, judge=0.05)


def test_resamples_follow_the_costs_of_served_models_only() -> None:
    load = quiet()
    load.costs = RESAMPLING
    assert shaped_by(load, SERVED).resamples == RESAMPLING.resamples > 0
    assert shaped_by(load, replace(SERVED, resamples=1)).resamples == 1
    assert shaped_by(load, RunOptions()).resamples is None


def test_deterministic_runs_are_left_alone() -> None:
    load = quiet()
    load.costs = RESAMPLING
    levels(load, 40, 0.05, 99.0)
    options = replace(SERVED, deterministic=True)
    assert shaped_by(load, options) == options


def test_a_run_without_others_keeps_all_speculation() -> None:
    pair, options = PairLoad(), RunOptions()
    for _ in range(20):
        with pair.run(options) as shaped:
            assert shaped.options == options
            shaped.learn(run(0.05, 99.0))


def test_concurrent_runs_give_up_speculation_that_does_not_pay() -> None:
    pair, options = PairLoad(), RunOptions()
    with pair.run(replace(options, method="target")):  # keeps the pair busy
        methods = []
        for _ in range(20):
            with pair.run(options) as shaped:
                methods.append(shaped.options.method)
                if shaped.options.method == "fpsr":
                    shaped.learn(run(0.05, 99.0))
    assert methods[0] == "fpsr"
    assert methods[-5:] == ["target"] * 5


def test_options_are_measured_apart() -> None:
    pair, options = PairLoad(), RunOptions()
    other = replace(options, window=2)
    with pair.run(options):
        for _ in range(20):
            with pair.run(options) as shaped:
                shaped.learn(run(0.05, 99.0))
        with pair.run(other) as shaped:
            assert shaped.options == other
        with pair.run(options) as shaped:
            assert shaped.options.method == "target"


def test_runs_with_other_seeds_share_their_measurements() -> None:
    pair, options = PairLoad(), RunOptions(temperature=0.5)
    with pair.run(options):
        for seed in range(20):
            with pair.run(replace(options, seed=seed)) as shaped:
                shaped.learn(run(0.05, 99.0))
    with pair.run(options), pair.run(replace(options, seed=99)) as shaped:
        assert shaped.options == replace(options, seed=99, method="target")


def test_without_load_control_runs_keep_their_options() -> None:
    pair, options = PairLoad(), RunOptions(load_aware=False)
    with pair.run(options):
        for _ in range(20):
            with pair.run(options) as shaped:
                assert shaped.options == options
                shaped.learn(run(0.05, 99.0))


def test_without_load_control_runs_are_still_measured() -> None:
    pair, options = PairLoad(), RunOptions(load_aware=False)
    verdict = Verdict(True, 0.9, 0.7, "", kind="ratio")
    judged = (JudgeStarted(0.0, 0, (0,)), JudgeEnded(0.25, 0, (0,), (verdict,)))
    with pair.run(options) as shaped:
        shaped.learn(Result("", (), Usage(judge_calls=1), 1.0, "answer", events=judged))
    with pair.run(options) as shaped:
        assert shaped.timed(RunConfig()).usual_judge_seconds == 0.25


def test_runs_learn_how_long_a_judge_call_usually_takes() -> None:
    load, config = Load(), RunConfig()
    assert load.timed(config).usual_judge_seconds is None
    load.costs = Costs(judge=0.25)
    assert load.timed(config).usual_judge_seconds == 0.25
    scope: Any = None
    assert JudgeTimes(load).before_run(scope, config).usual_judge_seconds == 0.25
