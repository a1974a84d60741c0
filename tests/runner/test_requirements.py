"""What a gate needs is checked before a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest

from dreamr import Reasoner, RunOptions
from dreamr.answers import AnswerForm, JsonObject
from dreamr.engines import Capabilities, Model, ModelSource
from dreamr.errors import Unsupported
from dreamr.gate import (
    GATES,
    CascadeGate,
    EntropyGate,
    Evidence,
    LikelihoodGate,
    RatioGate,
    ScoreGate,
    WordGate,
)
from dreamr.schedules import ScheduleConfig
from dreamr.trace import JudgeEnded, RunStarted
from support.runs import draft, go, notes, target

MUTE = Capabilities(judge=False, margins=False, kind="Ollama")


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (RatioGate(), r"gate ratio needs .*labels, which the target big \(Ollama\) .*--gate word"),
        (LikelihoodGate(), r"gate likelihood needs probabilities of given tokens.*--gate ratio"),
        (CascadeGate(), r"gate cascade needs probabilities of"),
        (CascadeGate(draft_confidence=0.9), r"gate cascade needs .*labels"),
        (GATES["adaptive"](), "gate adaptive needs"),
        (GATES["tolerant"](), "gate tolerant needs"),
        (GATES["two-questions"](), "gate two-questions needs"),
        (EntropyGate(), "gate entropy needs entropy, which the draft small does not report"),
    ],
)
def test_a_run_whose_gate_cannot_work_is_refused(gate: Any, message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        go(target(capabilities=MUTE), draft(), gate=gate)


def test_a_method_with_a_gate_of_its_own_is_named() -> None:
    with pytest.raises(Unsupported, match=r"method specreason \(ScoreGate\) needs .*--method fpsr"):
        go(target(capabilities=MUTE), draft(), "specreason", gate=ScoreGate())


def test_a_draft_confidence_needs_the_draft_s_log_probabilities() -> None:
    with pytest.raises(Unsupported, match="needs log-probabilities, which the draft small"):
        go(target(), draft(), gate=CascadeGate(draft_confidence=0.9))


def test_a_method_without_a_gate_needs_nothing() -> None:
    assert go(target(capabilities=MUTE), method="target").answer == "3"


def test_words_are_enough_for_the_word_gate() -> None:
    result = go(target(capabilities=MUTE), draft(), gate=WordGate())
    assert {step.verdict.kind for step in result.steps if step.verdict} == {"word"}


def test_a_reasoner_is_refused_when_it_opens() -> None:
    async def opened(source: ModelSource) -> Model:
        return Model(target(capabilities=MUTE) if source.role == "target" else draft())

    async def main() -> None:
        with pytest.raises(Unsupported, match="--gate word"):
            async with Reasoner(open_model=opened):
                pass
        async with Reasoner(RunOptions(gate="word"), open_model=opened) as reasoner:
            assert (await reasoner.reason("2 + 2?")).complete

    anyio.run(main)


def test_a_target_that_does_not_answer_the_judge_prompt_is_reported_once() -> None:
    silent = target(
        opinion=lambda context, step: Evidence(0.2, 0.0),
        capabilities=Capabilities(min_label_mass=0.5),
    )
    result = go(silent, draft())
    assert notes(result).count("did not answer the judge prompt") == 1
    assert "label mass 0.2 below 0.5" in notes(result)
    assert all(step.source == "target" for step in result.steps)
    assert any(s.source == "draft" for s in go(silent, draft(), gate=RatioGate(0.7, 0.1)).steps)


APART = Capabilities(independent=True, kind="vLLM", window_problem="it returned status 400")


def test_windows_need_a_server_that_judges_them_in_one_request() -> None:
    message = (
        r"^--judge-batch window needs a target that judges a window in one request, which big "
        r"\(vLLM\) cannot \(it returned status 400\): use --judge-batch step or auto$"
    )
    options = ScheduleConfig(judge_batch="window")
    with pytest.raises(Unsupported, match=message):
        go(target(capabilities=APART), draft(), options=options)
    for able in (Capabilities(), replace(APART, windows=True)):
        assert go(target(capabilities=able), draft(), options=options).complete
    assert go(target(capabilities=APART), draft(), "sequential", options=options).complete


def test_a_gate_that_reads_given_tokens_judges_windows_in_one_request() -> None:
    options = ScheduleConfig(judge_batch="window")
    assert go(target(capabilities=APART), draft(), options=options, gate=LikelihoodGate()).complete


def test_the_end_of_the_draft_is_not_reported_as_an_unanswered_judge_prompt() -> None:
    """It is read in a judge call without a question."""
    big = target(opinion=0.9, judge_seconds=0.05)
    result = go(big, draft(), options=ScheduleConfig(window=8, fallback="on-reject"))
    judged = [event for event in result.events if isinstance(event, JudgeEnded)]
    assert any(verdict.unanswered for event in judged for verdict in event.verdicts)
    assert "did not answer" not in notes(result)


def test_an_answer_in_a_form_needs_a_target_that_writes_it() -> None:
    form = AnswerForm(format=JsonObject())
    with pytest.raises(Unsupported, match="need a served target, which the target big is not"):
        go(target(), draft(), answer_form=form)
    with pytest.raises(Unsupported, match="the draft small is not"):
        go(target(), draft(), "draft", answer_form=form)


@pytest.mark.parametrize(
    ("deterministic", "dtype", "noted"),
    [(True, "bfloat16", True), (True, "float32", False), (False, "bfloat16", False)],
)
def test_a_deterministic_run_notes_rounding_that_depends_on_timing(
    deterministic: bool, dtype: str, noted: bool
) -> None:
    able = Capabilities(device="cpu", dtype=dtype)
    options = ScheduleConfig(deterministic=deterministic)
    result = go(target(capabilities=able), draft(), options=options)
    assert ("--dtype float32" in notes(result)) is noted
    assert isinstance(started := result.events[0], RunStarted)
    assert started.options["target_dtype"] == dtype
    assert "draft_dtype" not in started.options
