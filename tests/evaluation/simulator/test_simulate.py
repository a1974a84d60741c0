"""Whole scenarios: many requests, many devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.errors import Unsupported
from dreamr.evaluation.simulator import (
    STEPWISE,
    BadScenario,
    Costs,
    Devices,
    Lengths,
    Scenario,
    Script,
    run_scripts,
    simulate,
    speedup,
)
from dreamr.evaluation.simulator.script import DraftedStep, TargetStep
from dreamr.schedules import Fallback, FinalAnswer, JudgeBatch, ScheduleConfig
from dreamr.trace import Event, usage_of

COSTS = Costs.relative(0.125, 0.05, 24, 24)
BASE = Scenario(COSTS, steps=12, requests=6)


@settings(max_examples=60, deadline=None)
@given(
    method=st.sampled_from(STEPWISE),
    window=st.integers(1, 6),
    resamples=st.integers(0, 3),
    acceptance=st.floats(0, 1),
    skipped_verification=st.sampled_from([0.0, 0.5, 1.0]),
    answer=st.sampled_from(["target", "draft"]),
    judge_batch=st.sampled_from(["auto", "step", "window"]),
    devices=st.builds(
        Devices,
        colocated=st.booleans(),
        serialize=st.booleans(),
        slowdown=st.floats(0, 1) | st.just(1.0),  # with 1.0, concurrency gains nothing
        target=st.integers(1, 3),
        replicas=st.integers(1, 3),
    ),
    message=st.floats(0, 0.1),
    ahead=st.integers(0, 30),
    concurrency=st.integers(1, 5),
)
def test_every_request_ends_and_everything_is_counted_once(
    method: str,
    window: int,
    resamples: int,
    acceptance: float,
    skipped_verification: float,
    answer: FinalAnswer,
    judge_batch: JudgeBatch,
    devices: Devices,
    message: float,
    ahead: int,
    concurrency: int,
) -> None:
    scenario = replace(
        BASE,
        costs=replace(COSTS, message=message, ahead=ahead, prompt_target=0.5, judge_token=1e-3),
        method=method,
        options=ScheduleConfig(
            window=window, resamples=resamples, final_answer=answer, judge_batch=judge_batch
        ),
        acceptance=acceptance,
        resample_acceptance=0.5,
        skipped_verification=skipped_verification,
        devices=devices,
        concurrency=concurrency,
        draft_steps=Lengths(20, 0.5),
        requests=4,
    )
    outcome = simulate(scenario)
    assert [run.steps for run in outcome.runs] == [scenario.steps] * scenario.requests
    assert all(run.wasted >= 0 and run.seconds > 0 for run in outcome.runs)
    assert outcome.seconds <= sum(run.seconds for run in outcome.runs) * (1 + 1e-9)
    if devices.slowdown == 1.0:
        assert outcome.busy("draft") <= 1 + 1e-6


@pytest.mark.parametrize("method", STEPWISE)
@pytest.mark.parametrize(("window", "resamples"), [(1, 0), (2, 0), (4, 0), (4, 2)])
def test_simultaneous_events_are_counted_correctly(
    method: str, window: int, resamples: int
) -> None:
    costs = Costs.relative(0.1, 1.0, 24, 24)  # a verdict takes as long as the fallback beside it
    script = BASE.script(0)
    events: list[Event] = []
    outcome = run_scripts(
        [script],
        method,
        ScheduleConfig(window=window, resamples=resamples),
        costs,
        Devices(),
        emit=lambda _, e: events.append(e),
    )
    (run,) = outcome.runs
    usage = usage_of(events)
    written = usage.draft.written + usage.target.written
    assert run.steps == BASE.steps
    assert run.wasted == written - run.tokens
    assert run.judge_calls == usage.judge_calls


def test_the_same_scenario_gives_the_same_outcome() -> None:
    assert simulate(BASE) == simulate(BASE)


def test_all_methods_get_the_same_script() -> None:
    assert BASE.script(3) == replace(BASE, method="sequential").script(3)
    assert BASE.script(3) != BASE.script(4)


def test_an_accepted_resample_saves_the_targets_own_step() -> None:
    resampled = replace(
        BASE, acceptance=0.4, resample_acceptance=1.0, options=ScheduleConfig(resamples=1)
    )
    assert speedup(resampled) > 1.3 * speedup(replace(resampled, options=ScheduleConfig()))
    (alone, *_), (first, *_) = simulate(resampled.alone()).runs, simulate(resampled).runs
    assert first.accepted == alone.steps - 1  # all but the answer
    assert first.rejected > 0


def test_rejected_resamples_cost_almost_no_time_if_the_draft_has_its_own_device() -> None:
    resampled = replace(
        BASE, acceptance=0.4, resample_acceptance=0.0, options=ScheduleConfig(resamples=1)
    )
    plain = simulate(replace(resampled, options=ScheduleConfig())).seconds
    assert simulate(resampled).seconds <= plain * 1.1


SKIPPING = replace(
    BASE,
    options=ScheduleConfig(fallback="on-reject", final_answer="draft"),
    acceptance=1.0,
    skipped_verification=1.0,
    costs=replace(COSTS, prompt_target=3.0, judge_token=0.01),
)


def test_if_every_step_skips_verification_the_run_takes_only_drafting() -> None:
    outcome = simulate(SKIPPING)
    assert outcome.busy("target") == outcome.busy("judge") == 0.0
    for run, index in zip(outcome.runs, range(BASE.requests), strict=True):
        drafted = sum(step.tokens for step in SKIPPING.script(index).drafted)
        assert run.seconds == pytest.approx(drafted * COSTS.draft)


def test_the_targets_prefill_ends_with_the_run() -> None:
    eager = replace(
        SKIPPING, options=ScheduleConfig(final_answer="draft"), devices=Devices(colocated=True)
    )
    slow = replace(eager, costs=replace(eager.costs, prompt_target=1000.0))
    assert simulate(slow).seconds == pytest.approx(2 * simulate(SKIPPING).seconds)


@pytest.mark.parametrize("method", ["lookahead", "specreason"])
def test_methods_that_verify_all_steps_ignore_skipped_verification(method: str) -> None:
    skipping = replace(SKIPPING, method=method)
    verified = replace(skipping, skipped_verification=0.0)
    assert simulate(skipping).seconds == simulate(verified).seconds


def finished(fallback: Fallback, *, drafted: Sequence[DraftedStep], costs: Costs) -> float:
    own = [TargetStep(10, 10)] * len(drafted)
    options = ScheduleConfig(fallback=fallback, final_answer="draft")
    return run_scripts([Script(drafted, own)], "fpsr", options, costs, Devices()).seconds


def test_a_step_accepted_without_the_target_is_read_once() -> None:
    drafted = [DraftedStep(10, True, skipped_verification=True)] * 2 + [DraftedStep(10, True)]
    costs = Costs(draft=0.01, target=0.1, judge=0.05, judge_token=0.002)
    late = finished("on-reject", drafted=drafted, costs=costs)
    assert late == pytest.approx(0.3 + 0.05 + 30 * 0.002)  # all three, in the judge call
    eager = finished("eager", drafted=drafted, costs=costs)
    assert eager == pytest.approx(
        0.3 + 0.05 + 10 * 0.002
    )  # the fallback reads two while the third is drafted


def test_a_closed_fallback_has_read_only_what_it_had_time_for() -> None:
    drafted = [DraftedStep(10, True, skipped_verification=True)] * 3 + [DraftedStep(10, True)]
    costs = Costs(draft=0.01, target=0.1, judge_token=0.05)
    # A step is read in 0.5 s and drafted in 0.1 s, so no fallback reads one completely.
    eager, never = (
        finished(fallback, drafted=drafted, costs=costs) for fallback in ("eager", "on-reject")
    )
    assert eager == pytest.approx(never) == pytest.approx(0.4 + 40 * 0.05)


def test_a_step_judged_after_a_rejected_one_does_not_count_as_read() -> None:
    """Other text is drafted at its position, which the target reads later."""
    accepted, rejected = DraftedStep(10, True), DraftedStep(10, False)
    skipped = [DraftedStep(10, True, skipped_verification=True)] * 2
    drafted = [accepted, rejected, *skipped, accepted]
    costs = Costs(draft=0.01, target=0.1, judge=0.5, judge_token=0.002)
    seconds = finished("on-reject", drafted=drafted, costs=costs)
    # A step and its judge call, a judge call for the other four, and the target's own step.
    first = 0.1 + (0.5 + 10 * 0.002) + (0.5 + 40 * 0.002) + 1.0
    assert seconds == pytest.approx(first + 0.3 + 0.5 + 30 * 0.002)


def test_a_judge_call_that_prefills_the_prompt_takes_no_more_candidates() -> None:
    drafted = [DraftedStep(10, True)] * 4
    costs = Costs(draft=0.01, target=0.1, judge=0.05, judge_step=0.01, prompt_target=0.5)
    alone = finished("on-reject", drafted=drafted, costs=costs)
    assert alone == pytest.approx(0.1 + 0.5 + 0.06 + 0.05 + 0.03)
    eager = finished(
        "eager", drafted=drafted, costs=costs
    )  # the fallback prefills while the call waits
    assert eager == pytest.approx(0.5 + 0.05 + 0.04)


def test_canceled_work_counts_as_far_as_it_was_done() -> None:
    drafted = [DraftedStep(10, True, skipped_verification=True)] * 3
    costs = Costs(draft=0.01, target=0.1, prompt_target=1000.0)
    options = ScheduleConfig(final_answer="draft")
    script = Script(drafted, [TargetStep(10, 10)] * 3)
    outcome = run_scripts([script], "fpsr", options, costs, Devices())
    assert outcome.busy("target") == pytest.approx(1.0)  # the canceled prefill
    free = run_scripts([script], "fpsr", options, replace(costs, prompt_target=0.0), Devices())
    assert free.busy("target") == pytest.approx(1.0)  # three canceled fallbacks
    assert free.runs[0].wasted == 3


def test_a_step_that_both_write_needs_no_reading() -> None:
    script = Script([DraftedStep(10, True, same=True)] * 4, [TargetStep(10, 10)] * 4)
    costs = Costs(draft=0.01, target=0.1, judge_token=1.0)
    free = replace(costs, judge_token=0.0)
    seconds = [
        run_scripts([script], "lookahead", ScheduleConfig(), each, Devices()).seconds
        for each in (costs, free)
    ]
    assert seconds[0] == pytest.approx(seconds[1])


def test_the_target_reads_unread_steps_before_it_writes() -> None:
    # The target writes nothing but the final answer.
    skipping = replace(SKIPPING, options=ScheduleConfig(fallback="on-reject"))
    free = replace(skipping, costs=replace(skipping.costs, judge_token=0.0))
    for run, free_run in zip(simulate(skipping).runs, simulate(free).runs, strict=True):
        unread = run.tokens - round(SKIPPING.target_steps.mean)
        assert run.seconds - free_run.seconds == pytest.approx(0.01 * unread)
    judged = replace(skipping, skipped_verification=0.0)
    free = replace(judged, costs=replace(judged.costs, judge_token=0.0))
    assert simulate(judged).busy("target") * simulate(judged).seconds == pytest.approx(
        simulate(free).busy("target") * simulate(free).seconds
    )


def test_many_pairs_serve_many_requests_as_fast_as_one_serves_one() -> None:
    alone = simulate(replace(BASE, requests=8))
    many = simulate(replace(BASE, requests=8, concurrency=8, devices=Devices(replicas=8)))
    assert many.latency == pytest.approx(alone.latency)
    assert many.requests_a_second > 5 * alone.requests_a_second


def test_concurrent_requests_on_one_pair_wait_for_each_other() -> None:
    serialized = Devices(serialize=True, slowdown=1)
    alone = simulate(replace(BASE, devices=serialized))
    both = simulate(replace(BASE, devices=serialized, concurrency=3))
    assert both.latency > 1.5 * alone.latency
    assert both.requests_a_second >= alone.requests_a_second


def test_a_target_on_more_devices_leaves_less_to_gain() -> None:
    gains = [speedup(replace(BASE, devices=Devices(target=n))) for n in (1, 2, 4, 8)]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 1.5 * gains[3]


def test_one_device_for_both_is_slower_than_one_each() -> None:
    assert speedup(replace(BASE, devices=Devices(colocated=True))) < speedup(BASE)


def test_the_answer_is_the_targets_own() -> None:
    outcome = simulate(replace(BASE, acceptance=1.0))
    assert all(run.accepted == BASE.steps - 1 for run in outcome.runs)


@pytest.mark.parametrize("method", ["token-sd", "prompt-lookup"])
def test_methods_within_steps_are_refused(method: str) -> None:
    with pytest.raises(Unsupported, match="whole steps"):
        simulate(replace(BASE, method=method))


def test_an_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(Unsupported, match="fpsr"):
        simulate(replace(BASE, method="fspr"))


@pytest.mark.parametrize(
    "wrong", [{"acceptance": 1.5}, {"acceptance": float("nan")}, {"steps": 0}, {"concurrency": 0}]
)
def test_impossible_scenarios_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadScenario):
        replace(BASE, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [(0.0, 0.1), (-1.0, 0.1), (0.1, -1.0), (float("nan"), 0.1)])
def test_impossible_costs_are_refused(wrong: tuple[float, float]) -> None:
    with pytest.raises(BadScenario):
        Costs.relative(*wrong)


@pytest.mark.parametrize("wrong", [(0.0, 0.0), (10.0, -1.0), (float("nan"), 0.0)])
def test_impossible_lengths_are_refused(wrong: tuple[float, float]) -> None:
    with pytest.raises(BadScenario):
        Lengths(*wrong)
