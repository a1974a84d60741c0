"""Answers in a form: the pair reasons, the target writes the answer in one request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dreamr.answers import AnswerForm, AnswerPiece, CallDelta, JsonObject, TokenLogprob
from dreamr.conversation import Tool, ToolCall
from dreamr.engines import AnsweringEngine, Failure, ScriptedEngine
from dreamr.errors import EngineError, EngineLost, RunFailed
from dreamr.runner.answering import calls_tool
from dreamr.schedules import ScheduleConfig
from dreamr.steps import StepFormat
from dreamr.trace import (
    AnswerExtended,
    Event,
    JudgeEnded,
    LaneClosed,
    LaneOpened,
    Result,
    StepDiscarded,
    StepReady,
)
from support.runs import TALK, go, notes, texts

JSON = AnswerForm(format=JsonObject())
WEATHER = (CallDelta(0, id="a", name="weather"),), (CallDelta(0, '{"city": "Rome"}'),)
CALL = [AnswerPiece(calls=WEATHER[0], tokens=2), AnswerPiece(calls=WEATHER[1], tokens=5)]
OBJECT = [
    AnswerPiece("\n", tokens=1),
    AnswerPiece('{"sum"', tokens=2),
    AnswerPiece(": 3}", tokens=2),
]
THOUGHT = ["<think>\nTea is 2.\n\n", "Milk is 1.\n\n", "So 3.\n</think>"]
TOOLS = replace(TALK, tools=(Tool("weather"),))
METHODS = ["fpsr", "sequential", "target", "token-sd", "lookahead", "parse", "specreason"]


def big(**values: Any) -> AnsweringEngine:
    values.setdefault("script", "".join([*THOUGHT, "\n\nThe answer.\n\n", "Answer: 3"]))
    return AnsweringEngine(name="big", **values)


def small(script: Any = None) -> ScriptedEngine:
    return ScriptedEngine(script=script or "".join([*THOUGHT, "\n\nAnswer: 3"]), name="small")


def reasoning(engine: AnsweringEngine) -> str:
    [(context, _)] = engine.answered
    return "".join(context.prefix)


@pytest.mark.parametrize("method", METHODS)
def test_the_answer_follows_the_closed_thought(method: str) -> None:
    target = big(answers=OBJECT)
    result = go(target, small(), method, answer_form=JSON)
    assert result.answer == '{"sum": 3}'
    assert result.finish == "answer"
    assert reasoning(target) == "".join(THOUGHT) + "\n\n"
    assert "".join(texts(result)) == "".join(THOUGHT) + '{"sum": 3}'


@pytest.mark.parametrize("method", METHODS)
def test_a_model_without_thoughts_reasons_in_plain_steps(method: str) -> None:
    plain = ["Tea is 2.\n\n", "Milk is 1.\n\n", "Answer: 3"]
    target = big(script="".join(plain), answers=OBJECT)
    result = go(target, small("".join(plain)), method, answer_form=JSON)
    assert (result.answer, result.finish) == ('{"sum": 3}', "answer")
    assert reasoning(target) == "".join(plain[:2])
    assert "".join(texts(result)) == "".join(plain[:2]) + result.answer


def test_the_draft_s_end_makes_the_answer_due_without_a_step_of_the_target() -> None:
    plain = ["Tea is 2.\n\n", "Milk is 1.\n\n", "Answer: 3"]
    target = big(script="".join(plain), answers=OBJECT)
    go(target, small("".join(plain)), "sequential", answer_form=JSON)
    assert target.streams == 1


def test_a_thought_that_the_template_opened_ends_with_its_tag() -> None:
    steps = [text.removeprefix("<think>\n") for text in THOUGHT]
    for opens in (False, True):
        target = big(script=[*steps, "\n\nAnswer: 3"], answers=OBJECT)
        form = StepFormat(opens_thought=opens)
        result = go(target, small([*steps, "\n\nAnswer: 3"]), answer_form=JSON, step_format=form)
        assert reasoning(target) == "".join(steps) + "\n\n"
        assert result.answer == '{"sum": 3}'


def test_a_thought_without_an_end_is_closed_before_the_answer() -> None:
    target = big(script=["<think>\nTea is 2."], answers=OBJECT)
    go(target, small(["<think>\nTea is 2."]), answer_form=JSON)
    assert reasoning(target) == "<think>\nTea is 2.\n\n</think>\n\n"


def test_a_thought_at_its_budget_is_closed_and_answered_in_the_form() -> None:
    target = big(answers=OBJECT)
    result = go(target, small(), answer_form=JSON, thinking_budget=3)
    assert reasoning(target) == THOUGHT[0] + "</think>\n\n"
    assert result.answer == '{"sum": 3}'
    assert "the thought is closed" in notes(result)


def test_calls_are_results_of_a_run_and_their_pieces_events() -> None:
    happened: list[Event] = []
    target = big(answers=CALL)
    result = go(target, small(), conversation=TOOLS, on_event=happened.append)
    assert result.calls == (ToolCall("a", "weather", '{"city": "Rome"}'),)
    assert result.answer == ""
    pieces = [event.calls for event in happened if isinstance(event, AnswerExtended)]
    assert pieces == list(WEATHER)
    assert result.text.endswith('weather({"city": "Rome"})\n')


def test_a_step_that_calls_a_tool_is_left_to_the_target() -> None:
    call = '<tool_call>\n{"name": "weather"}\n</tool_call>\n\n'
    script = ["It depends.\n\n", call, "More.\n\n", "Answer: 3"]
    target = big(script=script, answers=CALL)
    result = go(target, small(script), conversation=TOOLS)
    assert reasoning(target) == "It depends.\n\n"
    assert [call.name for call in result.calls] == ["weather"]


def test_without_a_demand_the_answer_is_written_as_ever() -> None:
    target = big()
    form = AnswerForm(tool_choice="none")
    result = go(target, small(), conversation=TOOLS, answer_form=form)
    assert result.answer == "3"
    assert not target.answered


def test_log_probabilities_of_the_answer_are_kept_and_its_marker_is_not() -> None:
    likely = (TokenLogprob("Answer:", -0.1), TokenLogprob(" 3", -0.2))
    pieces = [AnswerPiece("Answer:", tokens=1, logprobs=likely[:1])]
    pieces += [AnswerPiece(" 3", tokens=1, logprobs=likely[1:])]
    result = go(big(answers=pieces), small(), answer_form=AnswerForm(top_logprobs=0))
    assert result.answer == "3"
    assert result.answer_logprobs == likely


def test_an_answer_cut_by_the_limit_of_tokens_says_so() -> None:
    options = ScheduleConfig(deterministic=True, max_tokens=12)
    result = go(big(answers=OBJECT), small(), answer_form=JSON, options=options)
    assert result.finish == "length"
    assert not result.complete


def test_every_token_of_the_answer_is_counted_once() -> None:
    result = go(big(answers=OBJECT), small(), answer_form=JSON)
    assert result.steps[-1].step.tokens == 5
    written = sum(event.tokens for event in result.events if isinstance(event, LaneClosed))
    usage = result.usage
    assert usage.target.written + usage.draft.written == written


@pytest.mark.parametrize("method", ["fpsr", "sequential", "target"])
def test_all_other_work_ends_when_the_answer_is_due(method: str) -> None:
    result = go(big(answers=OBJECT), small(), method, answer_form=JSON)
    opened = [event for event in result.events if isinstance(event, LaneOpened)]
    closed = [event for event in result.events if isinstance(event, LaneClosed)]
    assert {event.lane for event in opened} == {event.lane for event in closed}
    ready = sum(isinstance(event, StepReady) for event in result.events)
    discarded = sum(isinstance(event, StepDiscarded) for event in result.events)
    rejected = sum(
        not verdict.accepted
        for event in result.events
        if isinstance(event, JudgeEnded)
        for verdict in event.verdicts
    )
    assert ready <= len(result.steps) + discarded + rejected


def test_a_target_that_cannot_continue_answers_alone_and_the_trace_says_why() -> None:
    pieces = [AnswerPiece(reasoning="Add.", tokens=2), AnswerPiece("3", tokens=1)]
    target, draft = big(answers=pieces, problem="it has no tool parser"), small()
    result = go(target, draft, conversation=TOOLS)
    assert target.answered[0][0].prefix == ()
    assert (draft.streams, target.streams) == (0, 1)
    assert texts(result) == ["<think>\nAdd.\n</think>\n\n", "3"]
    assert result.answer == "3"
    assert result.events[0].options["pass_through"] == "it has no tool parser"  # type: ignore[attr-defined]
    assert notes(result) == "the target answers alone, without speculation: it has no tool parser"


@pytest.mark.parametrize("lost", [False, True])
def test_a_run_fails_if_the_answer_does(lost: bool) -> None:
    error = (EngineLost if lost else EngineError)("the grammar is not valid")
    target = big(answers=OBJECT, problem="alone", stream_failures={0: Failure(error, 1)})
    with pytest.raises(RunFailed, match="the grammar is not valid") as found:
        go(target, small(), answer_form=JSON)
    assert isinstance(found.value.result, Result)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("<tool_call>\n{}", True),
        ("Look.\n<tool_call>", True),
        ('{"name": "weather", "arguments": {}}', True),
        ("[TOOL_CALLS] [{", True),
        ("A <tool_call> is a tag.", False),
        ('{"sum": 3}', False),
    ],
)
def test_calls_are_recognized_by_how_their_lines_begin(text: str, calls: bool) -> None:
    assert calls_tool(text) is calls
