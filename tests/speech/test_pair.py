"""Spoken questions to a Reasoner, whose models hear or do not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from dreamr import Conversation, EngineLost, ModelNotFound, Reasoner, RunOptions, Text, Unsupported
from dreamr.conversation import Audio, Frame, Image, Turn, Video
from dreamr.engines import Capabilities, Context
from dreamr.speech import NoSpeech, Transcript
from dreamr.speech.pair import PairSpeech
from dreamr.trace import RunStarted, SpeechTranscribed
from support.pairs import RIGHT, WRONG, Pair
from support.sounds import Scripted, silence, sound

QUESTION = "What do tea and milk cost together?"
SPOKEN = Conversation.from_prompt("", sound())
DEAF = {"capabilities": Capabilities(hears=False, hearing_problem="text only")}
OPTIONS = RunOptions(method="sequential", transcriber="small")


def run(job: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(job, 30))


def opened(scripted: Scripted) -> Any:
    def open_transcriber(spec: str, model: str | None) -> Scripted:
        assert (spec, model) == ("small", None)
        return scripted

    return open_transcriber


class Watched(Pair):
    """A pair that remembers the conversations that its models were given."""

    def __init__(self, target: Any = None, draft: Any = None) -> None:
        super().__init__(dict(target or {}), dict(draft or {}))
        self.asked: dict[str, list[Conversation]] = {"target": [], "draft": []}
        for plan, script in ((self.target, RIGHT), (self.draft, (RIGHT[0], WRONG, RIGHT[2]))):
            role = "target" if plan is self.target else "draft"
            plan["script"] = partial(self._written, role, script)

    def _written(self, role: str, script: tuple[str, ...], context: Context) -> str:
        self.asked[role].append(context.conversation)
        return "".join(script[len(context.prefix) :])


def reasoned(
    pair: Pair, scripted: Scripted, *conversations: Conversation, options: RunOptions = OPTIONS
) -> list[Any]:
    async def main() -> list[Any]:
        made = Reasoner(options, open_model=pair, open_transcriber=opened(scripted))
        async with made as reasoner:
            assert scripted.open
            return [await reasoner.reason(conversation) for conversation in conversations]

    return list(run(main()))


@pytest.mark.parametrize(("target", "draft"), [({}, DEAF), (DEAF, {}), (DEAF, DEAF)])
def test_a_model_that_does_not_hear_gets_the_words_and_so_does_the_other(
    target: dict[str, Any], draft: dict[str, Any]
) -> None:
    pair, scripted = Watched(target=target, draft=draft), Scripted({"question.ogg": QUESTION})
    [result] = reasoned(pair, scripted, SPOKEN)
    assert result.answer == "3.70"
    for role in ("target", "draft"):
        given = pair.asked[role]
        assert given
        assert set(given) == {Conversation((Turn("user", (Text(QUESTION),)),))}
    assert not scripted.open


def test_what_was_heard_is_in_the_trace_after_its_start() -> None:
    pair, scripted = Watched(target=DEAF), Scripted({"question.ogg": QUESTION, "b.ogg": "Hello"})
    talk = Conversation.from_prompt("", sound("b.ogg", pitch=500), sound())
    [result] = reasoned(pair, scripted, talk)
    assert isinstance(result.events[0], RunStarted)
    found = [(e.name, e.text) for e in result.events if isinstance(e, SpeechTranscribed)]
    assert found == [("b.ogg", "Hello"), ("question.ogg", QUESTION)]
    assert all(isinstance(event, SpeechTranscribed) for event in result.events[1:3])


def test_likely_words_are_passed_to_the_transcriber() -> None:
    pair, scripted = Watched(target=DEAF), Scripted({"question.ogg": QUESTION})
    reasoned(pair, scripted, SPOKEN, options=replace(OPTIONS, hotwords="tea, milk"))
    assert scripted.asked == [("question.ogg", "tea, milk")]


def test_models_that_hear_get_the_sound() -> None:
    hears = {"capabilities": Capabilities(hears=True)}
    pair, scripted = Watched(target=hears, draft=hears), Scripted()
    [result] = reasoned(pair, scripted, SPOKEN)
    assert not scripted.asked
    assert set(pair.asked["target"]) == {SPOKEN}
    assert not any(isinstance(event, SpeechTranscribed) for event in result.events)


def test_a_conversation_without_sound_asks_nobody() -> None:
    pair, scripted = Watched(target=DEAF), Scripted()
    reasoned(pair, scripted, Conversation.from_prompt(QUESTION))
    assert not scripted.asked


def test_a_sound_is_transcribed_once_for_all_turns_of_a_chat() -> None:
    pair, scripted = Watched(target=DEAF), Scripted({"question.ogg": QUESTION})
    later = Conversation(
        (
            *SPOKEN.turns,
            Turn("assistant", (Text("3.70"),)),
            Turn("user", (Text("And two teas?"),)),
        )
    )
    reasoned(pair, scripted, SPOKEN, later)
    assert [name for name, _ in scripted.asked] == ["question.ogg"]
    assert pair.asked["target"][-1].turns[0] == Turn("user", (Text(QUESTION),))


def test_a_sound_of_several_choices_is_transcribed_once() -> None:
    class Slow(Scripted):
        async def transcribe(self, audio: Audio, *, hotwords: str = "") -> Transcript:
            found = await super().transcribe(audio, hotwords=hotwords)
            await asyncio.sleep(0)
            return found

    async def main() -> list[Transcript]:
        speech = PairSpeech(opened(scripted))
        await speech.start("small")
        [audio] = SPOKEN.sounds
        return list(await asyncio.gather(speech.transcribe(audio), speech.transcribe(audio)))

    scripted = Slow({"question.ogg": QUESTION})
    assert [found.text for found in run(main())] == [QUESTION, QUESTION]
    assert [name for name, _ in scripted.asked] == ["question.ogg"]


def unheard(talk: Conversation) -> str:
    """Return the message about a sound that the draft does not take."""

    async def main() -> None:
        async with Reasoner(RunOptions(method="sequential"), open_model=Pair(draft=DEAF)) as it:
            await it.reason(talk)

    with pytest.raises(Unsupported) as found:
        run(main())
    return str(found.value)


def test_without_a_transcriber_the_model_and_the_option_are_named() -> None:
    message = unheard(SPOKEN)
    assert message.startswith("the draft draft takes no sound (text only): set --transcriber")
    assert "--no-sound" not in message


def test_the_sound_of_a_video_can_be_left_out_too() -> None:
    frame = Frame(0.0, Image(bytes(3), 1, 1))
    assert "--no-sound" in unheard(
        Conversation.from_prompt("What is said?", Video((frame,), 1.0, sound()))
    )


def test_a_spoken_question_works_in_blocking_code() -> None:
    pair, scripted = Watched(target=DEAF), Scripted({"question.ogg": QUESTION})
    with Reasoner(OPTIONS, open_model=pair, open_transcriber=opened(scripted)) as reasoner:
        assert reasoner.ask(SPOKEN).answer == "3.70"
    assert not scripted.open


def test_silence_ends_before_the_run() -> None:
    pair = Watched(target=DEAF)
    with pytest.raises(NoSpeech, match=r"no speech was heard in question\.ogg"):
        reasoned(pair, Scripted(), Conversation.from_prompt("", silence()))
    assert not pair.asked["target"]


def test_a_transcriber_that_cannot_start_closes_everything() -> None:
    pair, scripted = Watched(), Scripted(error=ModelNotFound("--transcriber small: not there"))
    with pytest.raises(ModelNotFound, match="--transcriber small"):
        reasoned(pair, scripted)
    assert not any(engine.alive for engine in pair.opened.values())
    assert not scripted.open


def test_a_lost_draft_decides_nothing() -> None:
    async def prepare(conversation: Conversation) -> None:
        raise EngineLost("gone")

    class Losing(Watched):
        async def __call__(self, source: Any) -> Any:
            model = await super().__call__(source)
            if source.role == "draft":
                model.engine.prepare = prepare
            return model

    pair = Losing()
    reasoned(pair, Scripted(), SPOKEN)
    assert set(pair.asked["target"]) == {SPOKEN}
