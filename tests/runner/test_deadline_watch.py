"""Runs whose deadline comes near, in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from dreamr.answers import PLAIN, AnswerForm, AnswerPiece, JsonObject
from dreamr.conversation import Conversation
from dreamr.engines import AnsweringEngine, Capabilities, Context, ScriptedEngine
from dreamr.errors import DeadlinePassed
from dreamr.runner import Deadline, RunConfig, run
from dreamr.schedules import METHODS, ScheduleConfig
from dreamr.steps import StepFormat
from dreamr.trace import CommittedStep, DeadlineNear, Result, StepCommitted
from support.runs import TALK, notes
from support.virtual_time import run_virtual

LATE = 0.05  # seconds after the deadline at which a response still counts as in time
STEP = "I look at the price of {} and add it to the sum so far.\n\n"
AFTER = "Tea and milk cost three coins together.\n\nSo the answer is: 3 coins."
MARKED = "Answer: 3 coins for both of them"


def thinker(steps: int, answer: str = AFTER) -> Callable[[Context], str]:
    """Return the script of a model that thinks for some steps, or until its thought is closed."""
    thought = "<think>\n" + "".join(STEP.format(f"item {n}") for n in range(steps))

    def script(context: Context) -> str:
        said = "".join(context.prefix)
        if "</think>" in said:
            after = said.split("</think>")[1].lstrip("\n")
            return answer[len(after) :] if answer.startswith(after) else ""
        return (thought + "</think>\n\n" + answer)[len(said) :]

    return script


def reasoner(steps: int, answer: str = MARKED) -> Callable[[Context], str]:
    """Return the script of a model that reasons in the open, and marks its answer."""
    reasoning = "".join(STEP.format(f"item {n}") for n in range(steps))

    def script(context: Context) -> str:
        said = "".join(context.prefix)
        start = said.find("Answer:")
        if start >= 0:
            return answer[len(said) - start :]
        return (reasoning + answer)[len(said) :]

    return script


def go(
    script: Callable[[Context], str],
    seconds: float | None,
    on_deadline: Any = "best",
    method: str = "fpsr",
    draft: dict[str, Any] | None = None,
    options: ScheduleConfig | None = None,
    step_format: StepFormat | None = None,
    form: AnswerForm = PLAIN,
    committed: tuple[CommittedStep, ...] = (),
    **target: Any,
) -> Result:
    slow = {"token_seconds": 0.02, "judge_seconds": 0.1, "opinion": 1.0, **target}
    quick = {"token_seconds": 0.004, "token_probability": lambda _: 0.9, **(draft or {})}
    config = RunConfig(
        method=method,
        options=options or ScheduleConfig(),
        step_format=step_format or StepFormat(answer_marker=None),
        deadline=None if seconds is None else Deadline(seconds, on_deadline),
        answer_form=form,
        committed=committed,
    )

    async def main() -> Result:
        big = AnsweringEngine(script=script, name="big", **slow)
        able = Capabilities(logprobs=True)
        small = ScriptedEngine(**{"script": script, "name": "small", "capabilities": able, **quick})
        result = await run(TALK, target=big, draft=small, config=config)
        assert big.open_streams == small.open_streams == 0
        return result

    return run_virtual(main)


def stages(result: Result) -> tuple[str, ...]:
    return result.deadline_stages


def test_a_run_with_time_to_spare_does_not_change() -> None:
    free, bound = go(thinker(8), None), go(thinker(8), 100.0)
    assert bound.text == free.text
    assert bound.seconds == pytest.approx(free.seconds)
    assert stages(bound) == ()


def test_the_thought_is_closed_so_that_the_target_can_answer_in_time() -> None:
    result = go(thinker(500), 6.0, opinion=0.0)
    assert stages(result) == ("window", "confidence", "answer")
    assert result.answer == "So the answer is: 3 coins."
    assert result.finish == "stop"
    assert result.seconds < 6.0
    assert "the deadline is near: the thought is closed, and the target answers" in notes(result)
    sources = [e.source for e in result.events if isinstance(e, StepCommitted)]
    assert sources[-2:] == ["target", "target"]


def test_steps_that_the_draft_is_confident_of_need_no_judge_near_the_deadline() -> None:
    result = go(thinker(500), 6.0, judge_seconds=2.0)
    near = {e.stage: e.time for e in result.events if isinstance(e, DeadlineNear)}
    kinds = [
        (e.time, e.verdict.kind)
        for e in result.events
        if isinstance(e, StepCommitted) and e.verdict is not None
    ]
    assert {kind for time, kind in kinds if time < near["confidence"]} <= {"ratio"}
    assert {kind for time, kind in kinds if near["confidence"] <= time} == {"draft_probability"}


def test_steps_that_the_draft_doubts_are_still_judged_near_the_deadline() -> None:
    doubts = {"token_probability": lambda _: 0.3}
    result = go(thinker(500), 6.0, draft=doubts)
    kinds = {
        e.verdict.kind
        for e in result.events
        if isinstance(e, StepCommitted) and e.verdict is not None
    }
    assert kinds == {"ratio"}


def test_reasoning_without_thoughts_is_ended_by_the_answer_marker() -> None:
    result = go(reasoner(500), 6.0, step_format=StepFormat())
    assert "answer" in stages(result)
    assert result.answer == "3 coins for both of them"
    assert result.finish == "answer"


def test_an_answer_that_is_being_written_goes_on() -> None:
    long = "Tea costs 2.\n\n" * 3 + "word " * 60
    result = go(thinker(2, long), 2.4, method="target")
    assert "answer" in stages(result)
    assert result.text.count("</think>") == 1
    assert result.finish == "stop"


def test_at_the_deadline_the_target_is_cut_in_its_answer() -> None:
    long = "word " * 9000
    result = go(thinker(3, long), 4.0, draft={"script": thinker(3, long)})
    assert result.finish == "deadline"
    assert result.deadline_stages[-1] == "best"
    assert set(result.answer.split()) == {"word"}
    assert result.steps[-1].source == "target"
    assert not result.complete
    assert 3.9 < result.seconds <= 4.0


def test_the_answer_of_the_draft_is_better_than_none_or_a_part() -> None:
    result = go(thinker(500), 4.0, token_seconds=0.3, judge_seconds=5.0)
    assert result.finish == "deadline"
    assert result.answer == "So the answer is: 3 coins."
    assert result.steps[-1].source == "draft"


def test_an_answer_in_a_form_is_written_in_time() -> None:
    form = AnswerForm(format=JsonObject())
    result = go(thinker(500), 6.0, form=form, answers=[AnswerPiece('{"sum": 3}', tokens=5)])
    assert "answer" in stages(result)
    assert (result.answer, result.finish) == ('{"sum": 3}', "answer")
    assert result.seconds < 6.0


@pytest.mark.parametrize("method", ["fpsr", "target"])
def test_an_answer_in_a_form_is_written_in_time_without_one_in_free_text(method: str) -> None:
    form, free = AnswerForm(format=JsonObject()), "Answer: " + "3 coins " * 20
    pieces = [AnswerPiece("[", tokens=20), AnswerPiece("]", tokens=20)]
    script, marks = reasoner(500, free), StepFormat()
    result = go(script, 6.0, method=method, form=form, answers=pieces, step_format=marks)
    assert "answer" in stages(result)
    assert (result.answer, result.finish) == ("[]", "answer")
    assert "the deadline is near: the target writes the answer in its form" in notes(result)


def test_an_answer_in_a_form_is_cut_at_the_deadline() -> None:
    form, pieces = AnswerForm(format=JsonObject()), [AnswerPiece("[", tokens=1)] * 9000
    result = go(thinker(2), 2.0, form=form, answers=pieces)
    assert result.finish == "deadline"
    assert set(result.text.split("</think>")[1].strip()) == {"["}
    assert 1.9 < result.seconds <= 2.0


def test_without_any_answer_the_last_thought_is_the_answer() -> None:
    result = go(thinker(500), 3.0, method="target", token_seconds=0.02)
    assert result.answer


def test_a_deadline_that_forbids_less_is_an_error() -> None:
    with pytest.raises(DeadlinePassed, match="the deadline of 2 s has passed") as caught:
        go(thinker(500), 2.0, "error")
    result = caught.value.result
    assert isinstance(result, Result)
    assert result.finish == "deadline"
    assert stages(result) == ()
    assert result.seconds == pytest.approx(2.0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seconds", [0.1, 0.5, 3.0])
def test_every_method_meets_its_deadline(method: str, seconds: float) -> None:
    result = go(thinker(500), seconds, method=method, token_seconds=0.01)
    assert result.seconds <= seconds + LATE
    assert result.answer


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_a_deadline_before_the_first_word_is_an_error(seconds: float) -> None:
    with pytest.raises(DeadlinePassed, match="before a model wrote anything"):
        go(thinker(500), seconds)


def test_a_resumed_run_enters_all_stages_near_its_deadline() -> None:
    first = go(thinker(500), 6.0)
    slow = {"token_seconds": 0.01, "judge_seconds": 2.0}
    result = go(thinker(500), 1.0, committed=first.steps[:5], **slow)
    assert stages(result) == ("window", "confidence", "answer")


class Asked(AnsweringEngine):
    """A target that first has to find out whether it can write an answer in a form."""

    seconds = 0.0

    async def form_problem(self, conversation: Conversation, form: AnswerForm) -> str:
        await anyio.sleep(self.seconds)
        return ""


def answered_by(target: Asked, seconds: float) -> tuple[Result, float]:
    """Return the result of a run for an answer in a form, and the seconds that it took."""
    config = RunConfig(
        method="target",
        deadline=Deadline(seconds),
        answer_form=AnswerForm(format=JsonObject()),
        step_format=StepFormat(answer_marker=None),
    )

    async def main() -> tuple[Result, float]:
        result = await run(TALK, target=target, config=config)
        return result, anyio.current_time()

    return run_virtual(main)


def test_the_deadline_passes_while_the_target_is_asked_about_the_form() -> None:
    target = Asked(script=thinker(500), token_seconds=0.02, answers=[AnswerPiece("[]", tokens=1)])
    target.seconds = 60.0
    with pytest.raises(DeadlinePassed, match="the deadline of 6 s passed before the run began"):
        answered_by(target, 6.0)


def test_a_run_has_the_time_that_is_left_when_the_form_is_known() -> None:
    target = Asked(script=thinker(500), token_seconds=0.02, answers=[AnswerPiece("[]", tokens=1)])
    target.seconds = 2.0
    result, seconds = answered_by(target, 6.0)
    assert (result.answer, result.finish) == ("[]", "answer")
    assert 4.0 < seconds < 6.0


def test_a_deadline_before_the_first_word_of_an_answer_in_a_form_is_an_error() -> None:
    form, marks = AnswerForm(format=JsonObject()), StepFormat()
    pieces = [AnswerPiece("[]", tokens=5)]
    with pytest.raises(DeadlinePassed, match="before a model wrote anything"):
        go(reasoner(500), 0.1, method="target", form=form, answers=pieces, step_format=marks)


def random_run(seed: int) -> tuple[float, Callable[[float | None], Result]]:
    """Return a random deadline, and a function that runs a random pair with a deadline."""
    luck = random.Random(seed)

    def speed(low: float, high: float) -> float:
        return float(low * (high / low) ** luck.random())

    script = luck.choice([thinker, reasoner])(luck.randrange(1, 60))
    token = speed(0.001, 0.1)
    sure, accepted = luck.random(), luck.random()
    big = {"token_seconds": token, "judge_seconds": speed(0.01, 3.0)}
    small = {"token_seconds": token * speed(0.05, 1.0)}
    marks = StepFormat() if luck.random() < 0.5 else StepFormat(answer_marker=None)
    options = ScheduleConfig(independent=luck.random() < 0.5, max_steps=5000, max_tokens=5000)
    method = luck.choice(METHODS)

    def opinion(_: Context, step: str) -> float:
        return float(random.Random(f"{seed} {step}").random() < accepted)

    def start(seconds: float | None) -> Result:
        draft = {**small, "token_probability": lambda text: max(sure, 0.01)}
        return go(
            script,
            seconds,
            method=method,
            draft=draft,
            options=options,
            step_format=marks,
            opinion=opinion,
            **big,
        )

    return speed(0.3, 60.0), start


def test_of_a_hundred_random_runs_ninety_nine_answer_in_time_and_none_is_cut_early() -> None:
    runs, missed = 100, []
    for seed in range(runs):
        seconds, start = random_run(seed)
        try:
            result = start(seconds)
        except DeadlinePassed:
            missed.append(seed)
            continue
        if result.seconds > seconds + LATE or not result.answer:
            missed.append(seed)
        if result.finish == "deadline":
            assert result.seconds > seconds - LATE, f"cut while there was time: {seed}"
    assert len(missed) <= runs / 100, missed


def test_runs_that_need_a_quarter_of_their_time_are_those_without_a_deadline() -> None:
    for seed in range(10):
        _, start = random_run(seed)
        free = start(None)
        result = start(4 * free.seconds + 1)
        assert result.text == free.text, seed
        assert result.finish == free.finish
        assert "answer" not in stages(result)
