from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import anyio
import pytest

from dreamr import EngineError, Reasoner, RunOptions
from dreamr.gate import ScoreGate
from dreamr.serving.drift import Watch
from dreamr.trace import Result, RunFinished
from support.pairs import RIGHT, WRONG
from support.straying import OTHER_WORDS, Straying

QUESTION = "What do tea and milk cost together?"
OPTIONS = RunOptions(deterministic=True)
GATE = OPTIONS.run_config().gate


def runs(
    pair: Straying,
    watch: Watch,
    count: int = 1,
    options: RunOptions = OPTIONS,
    each: Callable[[Result], None] = lambda result: None,
) -> None:
    """Run `count` times in sequence, each time with its audits."""

    async def main() -> None:
        with anyio.fail_after(60):
            async with Reasoner(options, open_model=pair) as reasoner:
                for _ in range(count):
                    each(await reasoner.reason(QUESTION, hooks=[watch]))
                    await watch.settled()

    anyio.run(main)


def test_without_disagreement_there_is_no_alarm_and_no_judge_call() -> None:
    pair, watch = Straying(), Watch(GATE, every=1, risk=0.05, lower=True)
    runs(pair, watch, 60)
    assert dict(watch.counts) == {"agreed": 120}
    assert not watch.alarm
    assert watch.threshold == pytest.approx(0.55)  # the lower bound
    assert pair.compared == []


def test_a_step_in_other_words_is_asked_about() -> None:
    pair, watch = Straying(says=OTHER_WORDS), Watch(GATE, every=1, risk=0.05)
    runs(pair, watch)
    assert dict(watch.counts) == {"agreed": 2}
    assert pair.compared == [(OTHER_WORDS, (RIGHT[1],))]


def test_spaces_and_case_do_not_make_a_different_step() -> None:
    pair, watch = Straying(says="  milk COSTS 1.20.\n\n"), Watch(GATE, every=1, risk=0.05)
    runs(pair, watch)
    assert dict(watch.counts) == {"agreed": 2}
    assert pair.compared == []


def test_a_drifting_draft_raises_the_alarm_and_the_threshold(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Wrong steps pass at any threshold.
    pair, watch = Straying(ratio=0.99), Watch(GATE, every=1, risk=0.05)
    runs(pair, watch, 200)
    assert not watch.alarm
    pair.says = WRONG
    thresholds: list[float] = []

    def after(result: Result) -> None:
        verdict = result.steps[1].verdict
        assert verdict is not None
        thresholds.append(verdict.threshold)

    with caplog.at_level(logging.WARNING, "dreamr.serving.drift"):
        runs(pair, watch, 20, each=after)
    assert watch.alarm
    assert watch.counts["differed"] == 20
    assert thresholds[0] == 0.7
    assert thresholds[-1] > 0.9  # thresholds of the runs themselves
    assert watch.threshold == pytest.approx(0.97, abs=0.005)
    # One line when the alarm starts.
    assert caplog.text.count("drift alarm") == 1


def test_few_audits_are_enough_if_every_other_step_is_wrong() -> None:
    pair, alarms = Straying(says=WRONG, ratio=0.99), list[bool]()
    watch = Watch(GATE, every=1, risk=0.05)
    runs(pair, watch, 12, each=lambda _: alarms.append(watch.alarm))
    assert alarms.index(True) <= 8  # two audits a run


def test_a_raised_threshold_rejects_the_steps_of_a_drifting_draft() -> None:
    pair, watch = Straying(says=WRONG), Watch(GATE, every=1, risk=0.05)
    sources: list[str] = []
    runs(pair, watch, 12, each=lambda result: sources.append(result.steps[1].source))
    refused = sources.index("target")
    assert 0 < refused <= 6
    assert sources[refused] == sources[refused + 1] == "target"
    assert not watch.alarm


def test_a_share_of_the_steps_is_audited_at_any_position() -> None:
    pair, watch = Straying(says=OTHER_WORDS), Watch(GATE, every=5)
    runs(pair, watch, 300)
    audited = sum(watch.counts.values())
    assert 80 < audited < 160  # of 600
    assert 0.3 < len(pair.compared) / audited < 0.7  # the second step of two


def test_the_threshold_falls_below_the_gates_own_only_if_allowed() -> None:
    watch = Watch(GATE, every=1, risk=0.05)
    runs(Straying(), watch, 5)
    assert watch.threshold == 0.7


def test_a_run_with_another_gate_is_not_audited() -> None:
    watch = Watch(GATE, every=1, risk=0.05)
    runs(Straying(), watch, options=replace(OPTIONS, threshold=0.2))
    runs(Straying(), watch, options=replace(OPTIONS, method="lookahead"))
    runs(Straying(), watch, options=replace(OPTIONS, method="target"))
    assert not watch.counts
    assert watch.threshold == 0.7


def test_a_gate_without_threshold_is_audited_as_it_is() -> None:
    options = replace(OPTIONS, method="specreason")
    watch = Watch(ScoreGate(7), every=1)
    runs(Straying(), watch, options=options)
    assert watch.counts["agreed"] == 2
    assert watch.threshold is None
    assert watch.gate == ScoreGate(7)


@pytest.mark.parametrize("error", [EngineError("busy"), RuntimeError("a defect")])
def test_a_failed_audit_is_counted_and_affects_no_run(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    pair = Straying(says=WRONG, failing=error)
    watch = Watch(GATE, every=1, risk=0.05)
    runs(pair, watch, 2)
    assert dict(watch.counts) == {"agreed": 2, "failed": 2}
    assert str(error) in caplog.text
    assert not watch.alarm


def test_audits_are_dropped_while_the_target_is_busy() -> None:
    pair = Straying()
    watch = Watch(GATE, every=1, busy=lambda: True)
    runs(pair, watch)
    assert dict(watch.counts) == {"dropped": 2}


def test_concurrent_audits_are_bounded_and_delay_no_answer() -> None:
    """With a target whose audits hang, answers still come and further audits are dropped."""

    async def main() -> None:
        options = replace(OPTIONS, fallback="on-reject")
        watch = Watch(GATE, every=1, risk=0.05)
        pair = Straying(hanging=True)
        with anyio.fail_after(20):
            async with Reasoner(options, open_model=pair) as reasoner:
                for _ in range(4):
                    assert (await reasoner.reason(QUESTION, hooks=[watch])).answer == "3.70"
                    await anyio.wait_all_tasks_blocked()
                assert dict(watch.counts) == {"agreed": 2, "dropped": 4}
            # Closing the Reasoner does not wait for audits.

    anyio.run(main)


def test_a_streamed_run_is_audited_too() -> None:
    watch = Watch(GATE, every=1, risk=0.05)

    async def main() -> None:
        with anyio.fail_after(20):
            async with Reasoner(OPTIONS, open_model=Straying()) as reasoner:
                events = [event async for event in reasoner.stream(QUESTION, hooks=[watch])]
                assert isinstance(events[-1], RunFinished)
                await watch.settled()

    anyio.run(main)
    assert watch.counts["agreed"] == 2


def test_a_blocking_call_is_audited_too() -> None:
    watch = Watch(GATE, every=1, risk=0.05)
    with Reasoner(OPTIONS, open_model=Straying()) as reasoner:
        assert reasoner.ask(QUESTION, hooks=[watch]).answer == "3.70"
        assert reasoner._portal is not None
        reasoner._portal.call(watch.settled)
    assert watch.counts["agreed"] == 2
