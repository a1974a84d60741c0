"""Runs of models that think: the answer comes from outside the thoughts, and no tag is shown."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from dreamr.engines import ScriptedEngine
from dreamr.runner import RunConfig, run
from dreamr.schedules import METHODS, ScheduleConfig
from dreamr.steps import StepFormat
from dreamr.trace import Result, RunFinished, StepCommitted, timeline_html
from support.runs import TALK, notes

THOUGHT = "Let me see.\n\nAnswer: 7 at first sight.\n\nNo, it is 5.\n"
AFTER = "\n\nTea and milk cost 5.\n\nAnswer: 5"
NAMES = sorted(METHODS)


def go(text: str, method: str = "fpsr", drafted: str | None = None, **values: Any) -> Result:
    step_format = values.pop("step_format", StepFormat())
    config = RunConfig(
        method=method,
        options=ScheduleConfig(deterministic=True, **values),
        step_format=step_format,
    )

    async def main() -> Result:
        with anyio.fail_after(20):
            return await run(
                TALK,
                target=ScriptedEngine(script=text, name="big"),
                draft=ScriptedEngine(script=text if drafted is None else drafted, name="small"),
                config=config,
            )

    return anyio.run(main)


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize(
    "text",
    [
        f"<think>\n{THOUGHT}</think>{AFTER}",
        f"[THINK]{THOUGHT}[/THINK]{AFTER}",
        f"{THOUGHT}</think>{AFTER}",
        f"<think>a</think>\n\n<think>{THOUGHT}</think>{AFTER}",
        f"<think>a<think>b</think>\n\n{THOUGHT}</think>{AFTER}",
    ],
)
def test_the_marker_in_a_thought_neither_ends_the_run_nor_gives_the_answer(
    method: str, text: str
) -> None:
    result = go(text, method)
    assert (result.answer, result.complete, result.text) == ("5", True, text)


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("final_answer", ["target", "draft"])
@pytest.mark.parametrize(
    "text", [f"<think>\n{THOUGHT}", "<think>\nNo end.\n\n", "<think>Answer: 7</think>\n"]
)
def test_a_run_that_ends_with_a_thought_has_no_answer_and_is_not_complete(
    method: str, final_answer: Any, text: str
) -> None:
    result = go(text, method, final_answer=final_answer)
    assert (result.answer, result.finish) == ("", "length")
    assert "stopped after a thought, without an answer" in notes(result)
    assert not any(event.last for event in result.events if isinstance(event, StepCommitted))


@pytest.mark.parametrize("method", NAMES)
def test_a_thought_that_the_template_opens_counts_as_one(method: str) -> None:
    opened = StepFormat(opens_thought=True, max_answer_tokens=6)
    result = go(f"{THOUGHT}</think>{AFTER}", method, step_format=opened)
    assert (result.answer, result.complete) == ("5", True)
    assert go(THOUGHT, method, step_format=opened).answer == ""


def test_a_draft_that_stops_in_a_thought_leaves_the_rest_to_the_target() -> None:
    text = f"<think>\n{THOUGHT}</think>{AFTER}"
    for final_answer in ("target", "draft"):
        result = go(text, drafted=f"<think>\n{THOUGHT}", final_answer=final_answer)
        assert (result.answer, result.complete, result.text) == ("5", True, text)


def test_drafted_steps_of_a_thought_are_judged_even_if_they_begin_with_the_marker() -> None:
    result = go(f"<think>\n{THOUGHT}</think>{AFTER}")
    sources = {step.step.text: step.source for step in result.steps}
    assert sources["Answer: 7 at first sight.\n\n"] == "draft"


@pytest.mark.parametrize("method", ["fpsr", "target", "token-sd"])
def test_a_timeline_shows_no_tags(method: str) -> None:
    page = timeline_html(go(f"<think>\n{THOUGHT}</think>{AFTER}", method).events)
    assert "think&gt;" not in page


def test_a_timeline_says_that_the_model_stopped_after_a_thought() -> None:
    result = go("<think>\nNo end.", "target")
    page = timeline_html([*result.events, RunFinished(result.seconds, result)])
    assert "The model stopped after a thought, without an answer." in page
