"""Runs of models that think too long, or that repeat themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from dreamr.engines import Context, ScriptedEngine
from dreamr.gate import AgreementGate, Gate, RatioGate, SameGate, ScoreGate
from dreamr.runner import RunConfig, run
from dreamr.schedules import METHODS, ScheduleConfig
from dreamr.steps import StepFormat
from dreamr.trace import JudgeStarted, LaneOpened, Result, StepCommitted, StepRejected
from support.runs import TALK, notes, texts

NAMES = sorted(METHODS)
STEPWISE = [name for name in NAMES if name != "token-sd"]
GATES: dict[str, Gate] = {
    "lookahead": SameGate(),
    "specreason": ScoreGate(7),
    "token-sd": AgreementGate(),
}
AFTER = "Tea and milk cost 3.\n\nAnswer: 3"
AFTER_TOKENS = 7
LOOP = "I must look at the price of the milk again.\n\n"
Thinks = Callable[[int], str]


def thinking(thinks: Thinks, opening: str = "<think>\n") -> Callable[[Context], str]:
    """Return the script of a model that thinks until its thought is closed, and then answers.

    Args:
        thinks: Returns the text of a step from its number.
        opening: What the text begins with.
    """

    def script(context: Context) -> str:
        said = "".join(context.prefix)
        if "</think>" in said:
            after = said.split("</think>")[1].lstrip("\n")
            return AFTER[len(after) :] if AFTER.startswith(after) else ""
        return (opening + "".join(map(thinks, range(99))))[len(said) :]

    return script


def different(number: int) -> str:
    return f"Idea {chr(97 + number)} makes me look at both of the prices.\n\n"


def looping(number: int) -> str:
    return LOOP


def go(
    method: str,
    script: Any,
    drafted: Any = None,
    gate: Gate | None = None,
    step_format: StepFormat | None = None,
    thinking_budget: int | None = None,
    stop: tuple[str, ...] = (),
    **options: Any,
) -> Result:
    config = RunConfig(
        method=method,
        gate=gate or GATES.get(method, RatioGate()),
        options=ScheduleConfig(**{"deterministic": True, **options}),
        step_format=step_format or StepFormat(),
        thinking_budget=thinking_budget,
        stop=stop,
    )
    target = ScriptedEngine(script=script, name="big")
    draft = ScriptedEngine(script=script if drafted is None else drafted, name="small")

    async def main() -> Result:
        with anyio.fail_after(20):
            return await run(TALK, target=target, draft=draft, config=config)

    try:
        return anyio.run(main)
    finally:
        assert target.open_streams == draft.open_streams == 0


def thought_of(result: Result) -> int:
    """Return the number of steps before the one that closes the thought."""
    (place,) = [n for n, step in enumerate(result.steps) if "</think>" in step.step.text]
    assert result.steps[place].step.tokens == 0
    return place


def tokens(result: Result, until: int | None = None) -> int:
    return sum(step.step.tokens for step in result.steps[:until])


@pytest.mark.parametrize("method", NAMES)
def test_a_spent_budget_closes_the_thought_once_and_the_answer_comes(method: str) -> None:
    result = go(method, thinking(different), thinking_budget=30)
    assert (result.answer, result.finish) == ("3", "answer")
    place = thought_of(result)
    assert tokens(result, place) >= 30 > tokens(result, place - 1)
    assert tokens(result) == tokens(result, place) + AFTER_TOKENS
    assert notes(result).count("the thinking budget of 30 tokens is spent") == 1
    alone = "draft" if method == "draft" else "target"
    assert {step.source for step in result.steps[place:]} == {alone}


@pytest.mark.parametrize("method", NAMES)
def test_nothing_is_drafted_or_judged_after_the_thought_is_closed(method: str) -> None:
    events = list(go(method, thinking(different), thinking_budget=30).events)
    closed = next(
        n
        for n, event in enumerate(events)
        if isinstance(event, StepCommitted) and not event.step.tokens
    )
    opened = [event for event in events[closed:] if isinstance(event, LaneOpened)]
    assert [event.role for event in opened] == ["draft" if method == "draft" else "target"]
    assert not any(isinstance(event, JudgeStarted) for event in events[closed:])


@pytest.mark.parametrize("method", NAMES)
def test_the_limit_of_tokens_holds_for_thought_and_answer(method: str) -> None:
    result = go(method, thinking(different), thinking_budget=30, max_tokens=35)
    assert (result.answer, result.finish) == ("", "length")
    assert tokens(result) <= 35
    thought_of(result)


@pytest.mark.parametrize("method", NAMES)
def test_without_a_budget_a_thought_is_as_long_as_the_model_wants(method: str) -> None:
    text = f"<think>\n{''.join(map(different, range(9)))}</think>\n\n{AFTER}"
    result = go(method, text)
    assert (result.answer, result.text) == ("3", text)
    assert "thought" not in notes(result)


@pytest.mark.parametrize("method", NAMES)
def test_a_thought_within_the_budget_is_not_closed(method: str) -> None:
    text = f"<think>\n{different(0)}</think>\n\n{AFTER}"
    assert go(method, text, thinking_budget=30).text == text


@pytest.mark.parametrize("method", ["fpsr", "target"])
def test_a_thought_that_the_template_opens_is_closed_too(method: str) -> None:
    opened = StepFormat(opens_thought=True, closing="Time is up.\n</think>\n\n")
    result = go(method, thinking(different, ""), thinking_budget=20, step_format=opened)
    assert result.answer == "3"
    assert result.steps[thought_of(result)].step.text == "Time is up.\n</think>\n\n"


def test_the_target_answers_also_if_the_draft_may_end_the_run() -> None:
    result = go("fpsr", thinking(different), thinking_budget=30, final_answer="draft")
    assert (result.answer, result.steps[-1].source) == ("3", "target")


def test_a_stop_text_counts_after_the_thought_was_closed() -> None:
    result = go("fpsr", thinking(different), thinking_budget=30, stop=("milk", "prices"))
    assert result.finish == "stop"
    assert result.text.endswith("</think>\n\nTea and ")


@pytest.mark.parametrize("method", NAMES)
def test_a_loop_of_steps_closes_the_thought(method: str) -> None:
    result = go(method, thinking(looping))
    assert (result.answer, notes(result).count("the text repeats itself: the thought is")) == (
        "3", 1,
    )  # fmt: skip
    if method in STEPWISE:
        assert result.text.count(LOOP) == 3


@pytest.mark.parametrize("method", NAMES)
def test_a_loop_without_delimiters_closes_the_thought(method: str) -> None:
    short = StepFormat(max_tokens=32)
    script = thinking(lambda number: "and then the ball is there again ")
    result = go(method, script, step_format=short)
    assert result.answer == "3"
    assert "the text repeats itself: the thought is closed" in notes(result)
    assert tokens(result) < 200


@pytest.mark.parametrize("method", NAMES)
def test_a_loop_outside_a_thought_ends_the_run(method: str) -> None:
    result = go(method, thinking(looping, ""))
    assert (result.answer, result.finish, result.error) == ("", "length", None)
    assert "the text repeats itself: the run ends" in notes(result)


@pytest.mark.parametrize("method", ["fpsr", "sequential", "specreason", "parse", "lookahead"])
@pytest.mark.parametrize("judge_batch", ["window", "step"])
def test_a_draft_that_repeats_a_step_is_rejected(method: str, judge_batch: str) -> None:
    script = [different(0), different(1), different(2), "Answer: 3"]
    drafted = [different(0), different(0), different(2), "Answer: 3"]
    result = go(method, script, drafted, judge_batch=judge_batch)
    assert texts(result) == script
    rejected = [event for event in result.events if isinstance(event, StepRejected)]
    assert [event.verdict.reason for event in rejected] == ["repeats step 1"]
    assert rejected[0].verdict.score_text == "no score"


def test_a_step_repeated_by_the_target_is_committed() -> None:
    script = [different(0), different(0), "Answer: 3"]
    result = go("fpsr", script)
    assert texts(result) == script
    assert [step.source for step in result.steps] == ["draft", "target", "target"]


def test_a_draft_alone_may_repeat_a_step() -> None:
    script = [different(0), different(0), "Answer: 3"]
    assert texts(go("draft", script)) == script


def test_the_trace_names_the_marks_of_steps_and_the_budget() -> None:
    marks = StepFormat(delimiter="\n", min_tokens=3)
    first = go("target", "One.\nAnswer: 3", step_format=marks, thinking_budget=7).events[0]
    options = first.options  # type: ignore[attr-defined]
    assert (options["delimiter"], options["min_step_tokens"]) == ("\n", 3)
    assert options["thinking_budget"] == 7
    assert "text" not in options
