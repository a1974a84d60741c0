"""Invariants of the schedules under random latencies, verdicts and failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.schedules import METHODS, ScheduleConfig
from support.adversary import Adversary, Outcome
from support.worlds import Pace, World

UNIT = st.floats(0, 1)
SEEDS = st.integers(0, 2**32)
WORLDS = st.builds(
    World,
    SEEDS,
    acceptance=UNIT,
    odd_drafts=UNIT,
    odd_steps=st.floats(0, 0.5),
    alike=st.sampled_from([0.0, 0.3]),
    shown=st.sampled_from([0.0, 0.7]),
    skipped_verification=st.sampled_from([0.0, 0.5, 1.0]),
)
STEPWISE = [name for name in METHODS if name != "token-sd"]  # which commits pieces of steps
PACES = st.builds(
    Pace,
    draft=st.sampled_from([0.0, 0.1, 1.0, 10.0]),
    target=st.sampled_from([0.0, 1.0, 10.0]),
    judge=st.sampled_from([0.0, 0.1, 1.0, 10.0]),
    jitter=st.sampled_from([0.0, 1.0]),
)
FALLBACKS = st.sampled_from(["auto", "eager", "idle", "on-reject"])
OPTIONS = st.builds(
    lambda resamples, deterministic, **rest: ScheduleConfig(
        resamples=0 if deterministic else resamples, deterministic=deterministic, **rest
    ),
    window=st.integers(1, 5),
    fallback=FALLBACKS,
    resamples=st.integers(0, 3),
    deterministic=st.booleans(),
    final_answer=st.sampled_from(["target", "draft"]),
    judge_batch=st.sampled_from(["auto", "window", "step"]),
    independent=st.booleans(),
    prefill=st.booleans(),
    max_steps=st.integers(1, 12),
    max_tokens=st.integers(1, 60),
)


def drive(
    method: str,
    world: World,
    options: ScheduleConfig,
    pace: Pace,
    seed: int = 0,
    failures: float = 0.0,
    fragile: Sequence[str] = (),
) -> Outcome:
    return Adversary(method, world, options, pace, seed, failures, fragile).run()


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(STEPWISE),
    WORLDS,
    OPTIONS,
    PACES,
    SEEDS,
    st.sampled_from([0.0, 0.05, 0.2, 0.5]),
    st.sampled_from([["draft"], ["target"], ["draft", "target"]]),
)
def test_the_invariants_hold(
    method: str,
    world: World,
    options: ScheduleConfig,
    pace: Pace,
    seed: int,
    failures: float,
    fragile: list[str],
) -> None:
    outcome = drive(method, world, options, pace, seed, failures, fragile)
    if outcome.finished.finish == "failed":
        assert failures
        assert ("draft" if method == "draft" else "target") in fragile
        assert outcome.finished.error
    else:
        assert outcome.finished.error is None


@settings(max_examples=150, deadline=None)
@given(WORLDS, OPTIONS, PACES, SEEDS, st.sampled_from([0.0, 0.1]))
def test_the_invariants_hold_if_steps_are_judged_alone(
    world: World, options: ScheduleConfig, pace: Pace, seed: int, failures: float
) -> None:
    alone = replace(options, judge_batch="step")
    outcome = drive("fpsr", world, alone, pace, seed, failures, ["draft", "target"])
    assert failures or outcome.finished.error is None


@settings(max_examples=300, deadline=None)
@given(WORLDS, OPTIONS, PACES, SEEDS)
def test_deterministic_fpsr_commits_what_its_sequential_twin_commits(
    world: World, options: ScheduleConfig, pace: Pace, seed: int
) -> None:
    values = {name: getattr(options, name) for name in ScheduleConfig.__dataclass_fields__}
    deterministic = ScheduleConfig(**{**values, "deterministic": True, "resamples": 0})
    one = drive("sequential", world, deterministic, pace, seed)
    other = drive("fpsr", world, deterministic, pace, seed + 1)
    assert one.commits == other.commits
    assert one.finished == other.finished


@settings(max_examples=300, deadline=None)
@given(
    WORLDS,
    st.integers(1, 5),
    st.integers(0, 3),
    st.integers(1, 12),
    st.floats(0, 5),
    st.floats(0, 5),
)
def test_fpsr_is_slower_than_the_target_alone_by_no_more_than_the_judging(
    world: World, window: int, resamples: int, max_steps: int, draft: float, judge: float
) -> None:
    options = ScheduleConfig(window=window, resamples=resamples, max_steps=max_steps)
    outcome = drive("fpsr", world, options, Pace(draft, 1.0, judge, jitter=0.0))
    ended_without_a_step = 1
    steps = len(outcome.commits) + ended_without_a_step
    assert outcome.seconds <= steps * (1.0 + judge) + 1e-9


@settings(max_examples=100, deadline=None)
@given(SEEDS, st.integers(1, 5), st.floats(0.01, 0.5), st.floats(0.0, 0.4))
def test_if_all_steps_are_accepted_only_draft_or_judge_cost_time(
    seed: int, window: int, draft: float, judge: float
) -> None:
    world = World(seed, acceptance=1.0, odd_drafts=0.0, odd_steps=0.0)
    options = ScheduleConfig(window=window, max_steps=10, max_tokens=1000)
    outcome = drive("fpsr", world, options, Pace(draft, 1.0, judge, jitter=0.0))
    assert {commit.source for commit in outcome.commits} == {"draft"}
    hidden = 1 if window == 1 else 0  # one step is not drafted while it is judged
    busy = 10 * (draft + judge) if hidden else 10 * max(draft, judge) + draft + judge
    assert outcome.seconds <= busy + 1e-9
