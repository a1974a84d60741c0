from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any

import anyio
import pytest

from dreamr import (
    Conversation,
    ConversationError,
    EngineLost,
    Event,
    ModelNotFound,
    Reasoner,
    RunFailed,
    RunOptions,
)
from dreamr.engines import Capabilities, Failure
from dreamr.errors import Unsupported
from dreamr.gate import RatioGate
from dreamr.schedules import ScheduleConfig
from dreamr.serving.tuning import SETTINGS, Tuner, kind_of
from dreamr.trace import RunFinished, RunStarted, StepCommitted, StepRejected
from support.pairs import QUESTION, RIGHT, WRONG, Pair

SEQUENTIAL = RunOptions(method="sequential")


def run(job: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(job, 30))


def test_a_question_is_answered_without_any_event_loop(pair: Pair) -> None:
    with Reasoner(SEQUENTIAL, open_model=pair) as reasoner:
        first = reasoner.ask(QUESTION)
        second = reasoner.ask(Conversation.from_prompt(QUESTION))
    assert (first.answer, second.answer) == ("3.70", "3.70")
    assert [step.source for step in first.steps] == ["draft", "target", "target"]


def test_a_question_is_answered_inside_a_running_event_loop(pair: Pair) -> None:
    async def cell_of_a_notebook() -> str:
        with Reasoner(open_model=pair) as reasoner:
            return reasoner.ask(QUESTION).answer

    assert run(cell_of_a_notebook()) == "3.70"


def test_a_custom_gate_decides_instead_of_the_one_of_the_options(pair: Pair) -> None:
    with Reasoner(SEQUENTIAL, open_model=pair) as reasoner:
        strict = reasoner.ask(QUESTION, gate=RatioGate(threshold=0.99))
        usual = reasoner.ask(QUESTION)
    assert [step.source for step in strict.steps] == ["target", "target", "target"]
    assert usual.steps[0].source == "draft"


def test_a_tuner_chooses_the_settings_of_each_run_and_learns_from_it(pair: Pair) -> None:
    tuner, chosen = Tuner(), []

    async def ask() -> None:
        async with Reasoner(RunOptions(window=3), open_model=pair) as reasoner:
            for options in (None, SEQUENTIAL):
                result = await reasoner.reason(QUESTION, options=options, hooks=[tuner])
                (started,) = [e for e in result.events if isinstance(e, RunStarted)]
                chosen.append(started.options["window"])

    run(ask())
    first = SETTINGS[0][0]
    assert chosen == [first.window, ScheduleConfig().window]  # other methods have nothing to tune
    assert tuner.choose(kind_of(Conversation.from_prompt(QUESTION))) != first  # known by now


def test_a_tuner_learns_from_a_run_that_is_streamed_or_blocks(pair: Pair) -> None:
    streamed, blocking = Tuner(), Tuner()

    async def ask() -> None:
        async with Reasoner(open_model=pair) as reasoner:
            async for _ in reasoner.stream(QUESTION, hooks=[streamed]):
                pass

    run(ask())
    with Reasoner(open_model=pair) as reasoner:
        reasoner.ask(QUESTION, hooks=[blocking])
    kind = kind_of(Conversation.from_prompt(QUESTION))
    assert SETTINGS[0][0] not in (streamed.choose(kind), blocking.choose(kind))


def test_a_tuner_ignores_failed_runs() -> None:
    tuner, pair = Tuner(), Pair(target={"stream_failures": {0: Failure(EngineLost("gone"))}})

    async def ask() -> None:
        async with Reasoner(open_model=pair) as reasoner:
            await reasoner.reason(QUESTION, hooks=[tuner])

    with pytest.raises(RunFailed):
        run(ask())
    assert tuner.choose(kind_of(Conversation.from_prompt(QUESTION))) == SETTINGS[0][0]


def test_on_event_sees_all_events(pair: Pair) -> None:
    seen: list[Event] = []
    with Reasoner(SEQUENTIAL, open_model=pair) as reasoner:
        result = reasoner.ask(QUESTION, on_event=seen.append)
    assert isinstance(seen[0], RunStarted)
    assert seen[:-1] == list(result.events)
    assert [e.step.text for e in seen if isinstance(e, StepCommitted)] == list(RIGHT)
    assert [e.step.text for e in seen if isinstance(e, StepRejected)] == [WRONG]


def test_a_run_may_have_options_of_its_own(pair: Pair) -> None:
    with Reasoner(SEQUENTIAL, open_model=pair) as reasoner:
        alone = reasoner.ask(QUESTION, options=RunOptions(method="target"))
        usual = reasoner.ask(QUESTION)
    assert {step.source for step in alone.steps} == {"target"}
    assert "draft" in {step.source for step in usual.steps}


def test_streaming_yields_events_up_to_the_result(pair: Pair) -> None:
    async def job() -> list[Event]:
        async with Reasoner(SEQUENTIAL, open_model=pair) as reasoner:
            return [event async for event in reasoner.stream(QUESTION)]

    last = run(job())[-1]
    assert isinstance(last, RunFinished)
    assert last.result.answer == "3.70"


def test_several_runs_may_be_concurrent(pair: Pair) -> None:
    async def job() -> set[str]:
        answers = set()

        async def ask(question: str) -> None:
            answers.add(f"{question} {(await reasoner.reason(question)).answer}")

        async with Reasoner(open_model=pair) as reasoner, anyio.create_task_group() as group:
            for question in "abc":
                group.start_soon(ask, question)
        return answers

    assert run(job()) == {"a 3.70", "b 3.70", "c 3.70"}


def test_leaving_a_stream_cancels_the_run(pair: Pair) -> None:
    pair.target["token_seconds"] = float("inf")

    async def job() -> int:
        async with Reasoner(RunOptions(method="target"), open_model=pair) as reasoner:
            async with aclosing(reasoner.stream(QUESTION)) as events:
                async for _ in events:
                    break
            while pair.opened["target"].open_streams:
                await anyio.lowlevel.checkpoint()
            return pair.opened["target"].open_streams

    assert run(job()) == 0


def test_an_unclosed_stream_is_closed_with_the_reasoner(pair: Pair) -> None:
    pair.target["token_seconds"] = float("inf")

    async def job() -> None:
        async with Reasoner(RunOptions(method="target"), open_model=pair) as reasoner:
            async for _ in reasoner.stream(QUESTION):
                break

    run(job())
    assert pair.opened["target"].open_streams == 0


def test_closing_cancels_open_runs(pair: Pair) -> None:
    pair.target["token_seconds"] = float("inf")
    started = threading.Event()
    outcome: list[BaseException] = []

    def ask() -> None:
        try:
            reasoner.ask(QUESTION, on_event=lambda event: started.set())
        except BaseException as error:
            outcome.append(error)

    waiting = threading.Thread(target=ask)
    with Reasoner(RunOptions(method="target"), open_model=pair) as reasoner:
        waiting.start()
        assert started.wait(30)
    waiting.join(30)
    assert [str(error) for error in outcome] == ["the Reasoner was closed during the run"]
    assert pair.opened["target"].open_streams == 0


def test_a_stream_whose_reasoner_is_closed_ends_with_an_error(pair: Pair) -> None:
    pair.target["token_seconds"] = float("inf")
    seen: list[Event] = []

    errors: list[RunFailed] = []

    async def read(reasoner: Reasoner, begun: anyio.Event) -> None:
        try:
            async for event in reasoner.stream(QUESTION):
                seen.append(event)
                begun.set()
        except RunFailed as error:
            errors.append(error)

    async def job() -> None:
        begun = anyio.Event()
        async with (
            anyio.create_task_group() as tasks,
            Reasoner(RunOptions(method="target"), open_model=pair) as reasoner,
        ):
            tasks.start_soon(read, reasoner, begun)
            await begun.wait()

    run(job())
    assert [str(error) for error in errors] == ["the Reasoner was closed during the run"]
    assert not any(isinstance(event, RunFinished) for event in seen)


def test_a_lost_target_raises_with_the_result_so_far(pair: Pair) -> None:
    pair.target["stream_failures"] = {0: Failure(EngineLost("the target died"), tokens=4)}
    with (
        Reasoner(RunOptions(method="target"), open_model=pair) as reasoner,
        pytest.raises(RunFailed, match="the target died") as caught,
    ):
        reasoner.ask(QUESTION)
    assert caught.value.result.text == RIGHT[0]  # type: ignore[attr-defined]


def test_a_stream_raises_the_failure_after_its_last_event(pair: Pair) -> None:
    pair.target["stream_failures"] = {0: Failure(EngineLost("the target died"))}
    seen: list[Event] = []

    async def job() -> None:
        async with Reasoner(RunOptions(method="target"), open_model=pair) as reasoner:
            async for event in reasoner.stream(QUESTION):
                seen.append(event)

    with pytest.raises(RunFailed, match="the target died"):
        run(job())
    assert isinstance(seen[-1], RunFinished)


def test_errors_in_the_block_are_not_wrapped(pair: Pair) -> None:
    async def job() -> None:
        async with Reasoner(open_model=pair):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(job())


def test_after_an_invalid_problem_the_reasoner_continues(pair: Pair) -> None:
    with Reasoner(open_model=pair) as reasoner:
        with pytest.raises(ConversationError):
            reasoner.ask(QUESTION, b"no picture")
        with pytest.raises(ConversationError):
            reasoner.ask("  ")
        with pytest.raises(ConversationError, match="already contains its attachments"):
            reasoner.ask(Conversation.from_prompt(QUESTION), b"")
        assert reasoner.ask(QUESTION).answer == "3.70"


@pytest.mark.parametrize("blocking", [True, False])
def test_a_model_that_does_not_open_closes_the_other(pair: Pair, blocking: bool) -> None:
    pair.errors["draft"] = ModelNotFound("no such draft")

    async def job() -> None:
        async with Reasoner(open_model=pair):
            pass

    def blocking_job() -> None:
        with Reasoner(open_model=pair):
            pass

    with pytest.raises(ModelNotFound, match="no such draft"):
        blocking_job() if blocking else run(job())
    target = pair.opened["target"]
    with pytest.raises(EngineLost, match="closed"):
        run(target.judge(None, ["step"]))  # type: ignore[arg-type]


def test_models_are_closed_at_the_end_and_can_be_opened_again(pair: Pair) -> None:
    reasoner = Reasoner(SEQUENTIAL, open_model=pair)
    for _ in range(2):
        with reasoner:
            assert reasoner.ask(QUESTION).answer == "3.70"
        for engine in pair.opened.values():
            with pytest.raises(EngineLost, match="closed"):
                run(engine.judge(None, ["step"]))  # type: ignore[arg-type]


def test_the_target_alone_opens_no_draft(pair: Pair) -> None:
    with Reasoner(RunOptions(method="target"), open_model=pair) as reasoner:
        reasoner.ask(QUESTION)
    assert set(pair.opened) == {"target"}


def test_an_unopened_reasoner_says_how_to_open_it(pair: Pair) -> None:
    reasoner = Reasoner(open_model=pair)
    with pytest.raises(RuntimeError, match="with Reasoner"):
        reasoner.ask(QUESTION)
    with pytest.raises(RuntimeError, match="async with Reasoner"):
        run(reasoner.reason(QUESTION))


def test_opening_twice_is_refused(pair: Pair) -> None:
    with Reasoner(open_model=pair) as reasoner, pytest.raises(RuntimeError, match="already open"):
        reasoner.__enter__()


def test_a_reasoner_opened_for_blocking_use_says_so_to_coroutines(pair: Pair) -> None:
    with Reasoner(open_model=pair) as reasoner, pytest.raises(RuntimeError, match="async with"):
        run(reasoner.reason(QUESTION))


def test_a_missing_package_of_local_models_is_named(monkeypatch: Any) -> None:
    monkeypatch.setattr("dreamr.engines.open.find_spec", lambda name: None)
    with pytest.raises(Unsupported, match=r"dreamr\[local\]"), Reasoner():
        pass


def test_results_become_json_and_can_be_hashed(pair: Pair) -> None:
    with Reasoner(RunOptions(method="sequential"), open_model=pair) as reasoner:
        result = reasoner.ask(QUESTION)
    found = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert found["answer"] == "3.70"
    assert [step["source"] for step in found["steps"]] == ["draft", "target", "target"]
    assert json.loads(json.dumps(result.steps[0].step.to_json()))["ending"] == "delimiter"
    assert len({result, result}) == 1
    assert len(set(result.events)) == len(result.events)


@pytest.mark.parametrize(
    ("devices", "advised"), [(("cuda", "cuda:1"), True), (("cuda", ""), False), (("", ""), False)]
)
def test_two_local_models_on_cuda_are_better_served_and_this_is_said_once(
    devices: tuple[str, str], advised: bool, caplog: pytest.LogCaptureFixture
) -> None:
    target, draft = ({"capabilities": Capabilities(device=device)} for device in devices)
    with Reasoner(SEQUENTIAL, open_model=Pair(target, draft)) as reasoner:
        for _ in range(2):
            reasoner.ask(QUESTION)
    assert [message.startswith("local models on CUDA") for message in caplog.messages] == (
        [True] if advised else []
    )
