"""Replay of recorded runs in virtual time."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from dreamr import RunOptions
from dreamr.evaluation.bench import Plan, Sample, Span
from dreamr.evaluation.bench.sample import spans_of
from dreamr.evaluation.simulator import (
    WORKER,
    BadScenario,
    Costs,
    Lengths,
    Script,
    ideal_seconds,
    replay,
    run_scripts,
)
from dreamr.evaluation.simulator.fitting import (
    Fit,
    MethodTraits,
    fit,
    opening,
    read_before,
    skipped_before,
)
from dreamr.evaluation.simulator.replaying import _Recorded
from dreamr.evaluation.simulator.script import draw_script
from dreamr.evaluation.simulator.tables import fitted_costs, replayed
from dreamr.schedules import Fallback, ScheduleConfig
from dreamr.trace import Event, lay_out

PAIR = Costs(
    draft=0.0006,
    target=0.0044,
    judge=0.012,
    judge_step=0.004,
    judge_token=0.0006,
    prompt_draft=0.008,
    prompt_target=0.045,
    message=0.0002,
)


def disturbed(costs: Costs, luck: random.Random) -> Costs:
    """Return costs that differ at random by up to 15%."""
    names = ("draft", "target", "judge", "judge_step", "judge_token", "prompt_target")
    return replace(costs, **{n: getattr(costs, n) * luck.uniform(0.85, 1.15) for n in names})


def recorded(
    script: Script, index: int, method: str, options: ScheduleConfig, costs: Costs
) -> Sample:
    events: list[Event] = []
    outcome = run_scripts(
        [script], method, options, costs, WORKER, emit=lambda _, event: events.append(event)
    )
    (run,) = outcome.runs
    return Sample(
        task="vqa",
        index=index,
        kind="made",
        method=method,
        concurrency=1,
        right=True,
        answer="1",
        finish="answer",
        seconds=run.seconds + 0.0006,
        first_step=None,
        tokens=run.tokens,
        steps=run.steps,
        spans=spans_of(lay_out(events), lambda *_: None),
    )


def bench(
    method: str,
    options: ScheduleConfig,
    costs: Costs = PAIR,
    problems: int = 40,
    acceptance: float = 0.8,
    same: float = 0.0,
    completes: float = 0.0,
    skipped_verification: float = 0.0,
    again: float = 0.0,
) -> tuple[list[Sample], list[Sample]]:
    """Return runs of the target alone and of a method.

    Args:
        method: Name of the method.
        options: Options of its schedule.
        costs: Costs of both models.
        problems: Number of runs of each.
        acceptance: Share of drafted steps that are accepted.
        same: Share of accepted steps that the target writes too.
        completes: Share of rejected steps for which the draft completes the target's own step.
        skipped_verification: Share of accepted steps that are accepted without the target.
        again: Share of resamples that are accepted.
    """
    luck = random.Random(7)
    target, samples = [], []
    for index in range(problems):
        lengths = Lengths(14, 0.5), Lengths(12, 0.4)
        steps = luck.randint(4, 11)
        script = draw_script(
            f"replay {index}",
            steps,
            acceptance,
            *lengths,
            ends=True,
            skipped_verification=skipped_verification,
            resample_acceptance=again,
        )
        drafted = [
            replace(
                step,
                same=step.accepted and luck.random() < same,
                completes=6 if not step.accepted and luck.random() < completes else 0,
            )
            for step in script.drafted
        ]
        script = replace(script, drafted=drafted)
        target.append(recorded(script, index, "target", ScheduleConfig(), disturbed(costs, luck)))
        samples.append(recorded(script, index, method, options, disturbed(costs, luck)))
    return target, samples


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("sequential", ScheduleConfig()),
        ("specreason", ScheduleConfig()),
        ("parse", ScheduleConfig()),
        ("fpsr", ScheduleConfig(window=1)),
        ("fpsr", ScheduleConfig(window=4)),
        ("fpsr", ScheduleConfig(window=8, fallback="idle")),
        ("fpsr", ScheduleConfig(window=8, fallback="on-reject")),
    ],
)
@pytest.mark.parametrize("acceptance", [0.5, 0.95])
def test_a_replay_predicts_what_was_recorded(
    method: str, options: ScheduleConfig, acceptance: float
) -> None:
    target, samples = bench(method, options, acceptance=acceptance)
    prediction = replay(target, samples, method, options)
    assert prediction.speedup == pytest.approx(prediction.measured_speedup, rel=0.1)
    assert prediction.problems == 40


@pytest.mark.parametrize("same", [0.0, 0.5, 1.0])
def test_equal_steps_need_no_judge_call_in_a_replay(same: float) -> None:
    options = ScheduleConfig(window=4)
    prediction = replay(*bench("lookahead", options, same=same), "lookahead", options)
    assert prediction.speedup == pytest.approx(prediction.measured_speedup, rel=0.1)


@pytest.mark.parametrize("fallback", ["eager", "on-reject"])
@pytest.mark.parametrize("skipped_verification", [0.5, 1.0])
def test_steps_accepted_without_the_target_need_none_in_a_replay(
    fallback: Fallback, skipped_verification: float
) -> None:
    options = ScheduleConfig(window=4, fallback=fallback, final_answer="draft")
    prediction = replay(
        *bench("fpsr", options, acceptance=0.9, skipped_verification=skipped_verification),
        "fpsr",
        options,
    )
    assert prediction.measured_speedup > 1.5
    assert prediction.speedup == pytest.approx(prediction.measured_speedup, rel=0.1)


@pytest.mark.parametrize("again", [0.2, 0.8])
def test_resamples_are_replayed_as_recorded(again: float) -> None:
    options = ScheduleConfig(window=4, resamples=2)
    slow = replace(
        PAIR, judge=0.001, judge_step=0.001
    )  # otherwise the target always completes first
    prediction = replay(*bench("fpsr", options, slow, acceptance=0.6, again=again), "fpsr", options)
    assert prediction.speedup == pytest.approx(prediction.measured_speedup, rel=0.1)


def a_run(*spans: Span, method: str = "fpsr") -> Sample:
    return Sample("vqa", 0, "made", method, 1, True, "1", "answer", 1.0, 0.1, 30, 3, spans)


ALONE = a_run(
    Span("target", 0.0, 0.5, "kept", 0, 1, 10),
    Span("target", 0.5, 0.6, "kept", 1, 1, 10),
    Span("target", 0.6, 0.7, "kept", 2, 1, 10),
    method="target",
)
SKIPPED_THEN_JUDGED = (
    Span("draft", 0.0, 0.1, "accepted", 0, 1, 10),
    Span("draft", 0.1, 0.2, "accepted", 1, 1, 12),
    Span("draft", 0.2, 0.3, "accepted", 2, 1, 14, ratio=0.9),
)
CALL = Span("judge", 0.3, 0.8, "judging", 2, 1, 14)


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        (ScheduleConfig(fallback="eager"), 0.8),
        (ScheduleConfig(fallback="eager", independent=True), 0.8),
        (ScheduleConfig(), 0.8),
        (ScheduleConfig(independent=True), 0.5),
        (ScheduleConfig(fallback="on-reject"), 0.5),
    ],
)
def test_a_fallback_that_always_runs_reads_from_the_start_of_the_run_without_spans(
    options: ScheduleConfig, seconds: float
) -> None:
    opened = opening(a_run(*SKIPPED_THEN_JUDGED, CALL), 0.01, MethodTraits.of("fpsr", options))
    assert opened is not None
    assert opened.seconds == pytest.approx(seconds)


def test_without_spans_of_the_target_its_prefill_takes_as_long_as_alone() -> None:
    costs = Costs(draft=0.01, target=0.01)
    fitted = Fit(costs, 0.0, (10,), (10,), 1.0)
    run = _Recorded(a_run(*SKIPPED_THEN_JUDGED), ALONE, fitted, MethodTraits(eager=True))
    assert run.prompts.target == pytest.approx(0.4)


def test_steps_accepted_without_the_target_are_unread_until_the_next_judge_call() -> None:
    later = Span("judge", 0.9, 1.0, "judging", 4, 1, 8)
    run = a_run(*SKIPPED_THEN_JUDGED, CALL, Span("draft", 0.5, 0.6, "accepted", 3, 1, 16), later)
    assert skipped_before(run, CALL, MethodTraits()) == 22
    assert skipped_before(run, later, MethodTraits(), read_before(run, later)) == 16
    assert (
        skipped_before(run, later, MethodTraits(same_text=True)) == 0
    )  # the target wrote these itself


def test_the_accepted_resample_is_found_in_the_order_of_completion() -> None:
    resamples = (
        Span("draft", 0.0, 0.1, "rejected", 0, 1, 10, ratio=0.1),
        Span("draft", 0.2, 0.5, "accepted", 0, 1, 30, ratio=0.9),
        Span("draft", 0.21, 0.3, "rejected", 0, 1, 9, ratio=0.1),
    )
    fitted = Fit(Costs(draft=0.01, target=0.01), 0.0, (10,), (10,), 1.0)
    run = replace(a_run(*resamples), steps=1)
    assert _Recorded(run, ALONE, fitted, MethodTraits()).script(False).drafted[0].resample == 2


def test_a_draft_that_predicted_the_target_after_rejections_does_so_in_a_replay() -> None:
    options, slow = ScheduleConfig(window=4), replace(PAIR, draft=0.002)
    idle, ahead = (
        replay(*bench("fpsr", options, slow, completes=share), "fpsr", options)
        for share in (0.0, 1.0)
    )
    assert ahead.speedup > 1.02 * idle.speedup
    assert ahead.speedup == pytest.approx(ahead.measured_speedup, rel=0.05)


def test_tokens_written_ahead_while_paused_are_estimated_from_spans() -> None:
    costs = replace(PAIR, ahead=6)
    target, samples = bench("sequential", ScheduleConfig(), costs)
    found = fit(target, samples).costs
    assert found.ahead == pytest.approx(6, abs=1)
    assert found.draft == pytest.approx(costs.draft, rel=0.15)


def test_costs_are_recovered_from_samples() -> None:
    found = fit(*bench("fpsr", ScheduleConfig(window=4), problems=80)).costs
    for name in ("draft", "target", "message"):
        assert getattr(found, name) == pytest.approx(getattr(PAIR, name), rel=0.1)
    assert found.judging(1, 14) == pytest.approx(PAIR.judging(1, 14), rel=0.15)
    assert found.judging(3, 42) == pytest.approx(PAIR.judging(3, 42), rel=0.15)


def test_costs_are_read_from_the_folder_of_a_bench(tmp_path: Path) -> None:
    samples = [one for side in bench("fpsr", ScheduleConfig(), problems=30) for one in side]
    lines = [json.dumps(one.to_json()) for one in samples]
    (tmp_path / "samples.jsonl").write_text("\n".join(lines) + "\n")
    found = fitted_costs(tmp_path)
    assert found.draft == pytest.approx(PAIR.draft, rel=0.1)
    assert found.target == pytest.approx(PAIR.target, rel=0.1)
    with pytest.raises(BadScenario, match="no samples of 'target' and 'parse'"):
        fitted_costs(tmp_path, "parse")


def test_an_outlier_does_not_change_the_costs() -> None:
    target, samples = bench("fpsr", ScheduleConfig(window=4))
    before = fit(target, samples).costs
    last = samples[0]
    spans = [replace(span, end=span.end + 5.0) for span in last.spans]
    after = fit(target, [replace(last, spans=tuple(spans)), *samples[1:]]).costs
    assert after.draft == pytest.approx(before.draft, rel=0.1)
    assert after.judging(2, 28) == pytest.approx(before.judging(2, 28), rel=0.1)


def test_ideal_seconds_exclude_messages() -> None:
    slow = replace(PAIR, message=0.004)
    prediction = replay(
        *bench("fpsr", ScheduleConfig(window=4), slow), "fpsr", ScheduleConfig(window=4)
    )
    assert prediction.costs.message == pytest.approx(slow.message, rel=0.1)
    assert prediction.ideal_seconds < 0.95 * prediction.seconds
    assert prediction.efficiency < 0.95


def test_a_bench_gets_ideal_seconds_for_each_task_and_method() -> None:
    target, samples = bench("fpsr", ScheduleConfig(window=4))
    named = [replace(sample, method="fpsr-4") for sample in samples]
    by_tokens = [replace(sample, method="token-sd") for sample in target]
    found = ideal_seconds([*target, *named, *by_tokens])
    prediction = replay(target, samples, "fpsr", ScheduleConfig(window=4))
    assert found == {("vqa", "fpsr-4", 1): pytest.approx(prediction.ideal_seconds / 40)}


def failed(sample: Sample) -> Sample:
    return replace(sample, finish="failed", tokens=0, steps=0, spans=())


def undrafted(sample: Sample) -> Sample:
    return replace(sample, spans=tuple(s for s in sample.spans if s.lane != "draft"))


def test_tasks_and_methods_that_cannot_be_replayed_have_no_ideal_seconds() -> None:
    target, samples = bench("fpsr", ScheduleConfig(window=4), problems=4)
    known = [*target, *(replace(sample, method="fpsr-4") for sample in samples)]
    expected = ideal_seconds(known)
    assert set(expected) == {("vqa", "fpsr-4", 1)}
    elsewhere = [replace(sample, task="story", method="fpsr-4") for sample in samples]
    for more in (
        [replace(sample, method="sequential") for sample in map(failed, samples)],
        [replace(sample, method="sequential") for sample in map(undrafted, samples)],
        [replace(sample, task="story", method="sequential") for sample in samples],
    ):
        assert ideal_seconds([*known, *more]) == expected
    lost = [replace(sample, task="story") for sample in map(failed, target)]
    for more in (elsewhere, [*elsewhere, *lost]):
        assert set(ideal_seconds([*known, *more])) == set(expected)
    assert ideal_seconds([*map(failed, target), *known[len(target) :]]) == {}


def test_failed_runs_of_the_target_alone_are_left_out() -> None:
    target, samples = bench("fpsr", ScheduleConfig(), problems=4)
    assert replay([failed(target[0]), *target[1:]], samples).problems == 3


@pytest.mark.parametrize(
    ("options", "schedule"),
    [
        (RunOptions(final_answer="draft"), ScheduleConfig(final_answer="draft")),
        (RunOptions(resamples=2), ScheduleConfig(resamples=2)),
        (RunOptions(target="http://localhost:8000"), ScheduleConfig(independent=True)),
    ],
)
def test_a_bench_is_replayed_with_its_options(
    options: RunOptions, schedule: ScheduleConfig, tmp_path: Path
) -> None:
    slow = replace(PAIR, judge=0.001, judge_step=0.001)
    target, samples = (
        [Sample.from_json(one.to_json()) for one in side]  # times are rounded in a file
        for side in bench("fpsr", schedule, slow, problems=15, acceptance=0.6, again=0.8)
    )
    found = replay(target, samples, "fpsr", schedule)
    plan = Plan(("vqa",), ("target", "fpsr"), 15, options=options).to_json()
    (tmp_path / "config.yaml").write_text(json.dumps(plan))  # JSON is YAML too
    lines = (json.dumps(one.to_json()) for one in (*target, *samples))
    (tmp_path / "samples.jsonl").write_text("\n".join(lines))
    (row,) = replayed(tmp_path).rows
    assert row["predicted"] == pytest.approx(found.speedup)
    assert row["ideal"] == pytest.approx(found.ideal_speedup)
    (ideal,) = ideal_seconds([*target, *samples], options).values()
    assert ideal == pytest.approx(found.ideal_seconds / 15)


def test_options_of_a_bench_that_are_invalid_are_named(tmp_path: Path) -> None:
    lines = (json.dumps(one.to_json()) for one in (ALONE, a_run(*SKIPPED_THEN_JUDGED, CALL)))
    (tmp_path / "samples.jsonl").write_text("\n".join(lines))
    (tmp_path / "config.yaml").write_text("version: 1\nlimit: 1\noptions: {window: 0}\n")
    for use in (replayed, fitted_costs):
        with pytest.raises(BadScenario, match=r"config.yaml: --window must be at least 1"):
            use(tmp_path)


def test_the_same_samples_give_the_same_prediction() -> None:
    options = ScheduleConfig(window=4)
    target, samples = bench("fpsr", options, problems=5)
    assert replay(target, samples, "fpsr", options) == replay(target, samples, "fpsr", options)


def test_problems_that_only_one_method_has_are_left_out() -> None:
    target, samples = bench("fpsr", ScheduleConfig(), problems=12)
    assert replay(target[:9], samples[2:], "fpsr", ScheduleConfig()).problems == 7


def test_samples_without_a_common_problem_are_refused() -> None:
    target, samples = bench("fpsr", ScheduleConfig(), problems=4)
    with pytest.raises(BadScenario, match="no problem"):
        replay(target[:2], samples[2:])
