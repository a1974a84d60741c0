from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from dreamr.conversation import Conversation
from dreamr.engines import Capabilities, Context, Failure, Model, ScriptedEngine
from dreamr.errors import ContextTooLong, Unsupported
from dreamr.evaluation.tasks import Items, load
from dreamr.speech import PairSpeech
from dreamr.training import Grader, measure
from support.sounds import Scripted, sound

SCRIPT = ("Tea costs 2.\n\n", "Milk costs 3.\n\n", "Answer: 5")


def test_measure_returns_the_acceptance_of_the_drafts_own_solutions() -> None:
    target = ScriptedEngine(script="unused", opinion={SCRIPT[0]: 0.9})
    draft = ScriptedEngine(script=SCRIPT)
    tasks = {name: load(name, limit=3) for name in ("docmath", "vqa")}
    seen: list[tuple[int, str]] = []

    async def work() -> dict[str, dict[str, float]]:
        grader = Grader([target], references=False)
        return await measure(
            tasks, Model(draft), grader, on_done=lambda done, name: seen.append((done, name))
        )

    found = anyio.run(work)
    assert list(found) == ["docmath", "vqa", "mean"]
    assert found["mean"]["problems"] == 3
    assert found["mean"]["acceptance"] == pytest.approx(0.5)
    assert found["mean"]["clean"] == 0.0
    assert found["mean"]["steps"] == 2
    assert found["mean"]["finished"] == 1.0
    assert target.streams == 0
    assert seen == [(3, "docmath"), (6, "vqa")]


def test_problems_beyond_the_drafts_context_are_counted_and_left_out() -> None:
    full = Failure(ContextTooLong("the request is too long for the draft"))

    async def work(problems: int) -> dict[str, dict[str, float]]:
        draft = ScriptedEngine(script=SCRIPT, stream_failures={0: full})
        grader = Grader([ScriptedEngine(opinion={SCRIPT[0]: 0.9})], references=False)
        return await measure({"docmath": load("docmath", limit=problems)}, Model(draft), grader)

    found = anyio.run(work, 3)["docmath"]
    assert found["problems"] == 3
    assert found["too_long"] == 1
    assert found["acceptance"] == pytest.approx(0.5)
    assert (found["steps"], found["clean"], found["finished"]) == (2, 0.0, 1.0)
    with pytest.raises(ContextTooLong, match="docmath: the request is too long for the draft"):
        anyio.run(work, 1)


def test_problems_with_sound_are_transcribed_for_models_that_do_not_hear() -> None:
    deaf = Capabilities(logprobs=True, hears=False, hearing_problem="text only")
    seen: list[Conversation] = []

    def opinion(context: Context, text: str) -> float:
        seen.append(context.conversation)
        return 0.9

    target = ScriptedEngine(script="unused", opinion=opinion, capabilities=deaf)
    draft = ScriptedEngine(script=SCRIPT, capabilities=deaf)
    [item] = load("docmath", limit=1)
    spoken = replace(item, conversation=Conversation.from_prompt("", sound()))
    tasks = {"spoken": Items([0], lambda index: spoken)}

    async def work(speech: PairSpeech | None) -> dict[str, dict[str, float]]:
        if speech is not None:
            await speech.start("small")
        grader = Grader([target], references=False)
        return await measure(tasks, Model(draft), grader, speech=speech)

    with pytest.raises(Unsupported, match=r"takes no sound .*--transcriber"):
        anyio.run(work, None)
    heard = PairSpeech(lambda spec, model: Scripted({"question.ogg": "What do they cost?"}))
    assert anyio.run(work, heard)["spoken"]["acceptance"] == 1.0
    assert {conversation.text for conversation in seen} == {"What do they cost?"}
