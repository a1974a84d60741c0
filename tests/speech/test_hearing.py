from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.conversation import Audio, Conversation, Frame, Image, Part, Text, Turn, Video
from dreamr.engines import Capabilities
from dreamr.speech import NoSpeech, Transcript, needs_transcript, transcribed
from support.sounds import Scripted, silence, sound

IMAGE = Image(bytes(12), 2, 2)
HEARS, DEAF, UNTRIED = (Capabilities(hears=hears) for hears in (True, False, None))


def written(conversation: Conversation, **said: str) -> tuple[Conversation, tuple[Transcript, ...]]:
    scripted = Scripted({f"{name}.ogg": text for name, text in said.items()})
    return anyio.run(transcribed, conversation, scripted)


def parts(*given: Part, **said: str) -> tuple[Part, ...]:
    return written(Conversation((Turn("user", given),)), **said)[0].turns[-1].parts


@pytest.mark.parametrize(
    ("target", "draft", "needed"),
    [
        (HEARS, HEARS, False),
        (HEARS, DEAF, True),
        (DEAF, HEARS, True),
        (DEAF, None, True),
        (None, DEAF, True),
        (HEARS, None, False),
        (UNTRIED, UNTRIED, False),
        (UNTRIED, DEAF, True),
    ],
)
def test_a_pair_needs_a_transcript_if_one_of_its_models_does_not_hear(
    target: Capabilities | None, draft: Capabilities | None, needed: bool
) -> None:
    assert needs_transcript(target, draft) is needed


def test_a_sound_without_text_is_the_question_and_follows_the_other_parts() -> None:
    question = sound()
    asked = Conversation.from_prompt("", question, IMAGE)
    found, [transcript] = written(asked, question="What is it?")
    assert found.turns[-1].parts == (IMAGE, Text("What is it?"))
    assert transcript == Transcript("What is it?", "en", question.seconds)
    found.check()


def test_beside_a_typed_question_a_sound_is_quoted_with_its_name() -> None:
    call = sound("call.ogg")
    assert parts(call, Text("Who calls?"), call="It is Ann.") == (
        Text("Speech in call.ogg: It is Ann.\n"),
        Text("Who calls?"),
    )


def test_of_several_sounds_without_text_the_last_is_the_question() -> None:
    first, last = sound("call.ogg"), sound(pitch=500)
    assert parts(first, last, IMAGE, call="It is Ann.", question="Who calls?") == (
        Text("Speech in call.ogg: It is Ann.\n"),
        IMAGE,
        Text("Who calls?"),
    )


def test_the_sound_of_a_video_follows_its_frames_and_is_not_the_question() -> None:
    speech = sound("clip.ogg")
    video = Video((Frame(0.0, IMAGE),), 0.5, speech, "clip.mp4")
    silent = Video(video.frames, 0.5, None, "clip.mp4")
    quoted = Text("Speech in clip.mp4: Hello.\n")
    assert parts(video, Text("Who?"), clip="Hello.") == (silent, quoted, Text("Who?"))
    question = sound(pitch=500)
    assert parts(video, question, clip="Hello.", question="Who?") == (silent, quoted, Text("Who?"))


def test_sounds_without_a_name_have_plain_ones() -> None:
    nameless = sound(None)
    video = Video((Frame(0.0, IMAGE),), 0.5, sound(None, pitch=500))
    asked = Conversation((Turn("user", (nameless, video, Text("Who?"))),))
    found, _ = anyio.run(transcribed, asked, Scripted({None: "Hello."}))
    texts = [part.text for part in found.turns[-1].parts if isinstance(part, Text)]
    assert texts[:2] == ["Speech in the recording: Hello.\n", "Speech in the video: Hello.\n"]


def test_a_spoken_question_without_speech_is_refused_with_its_name() -> None:
    with pytest.raises(NoSpeech, match=r"no speech was heard in question.ogg: record .* or type"):
        parts(silence())


def test_another_sound_without_speech_is_said_to_have_none() -> None:
    assert parts(sound("call.ogg"), Text("Who?"))[0] == Text("There is no speech in call.ogg.\n")


def test_spoken_questions_of_earlier_turns_become_text_too() -> None:
    first, last = sound("first.ogg"), sound("last.ogg", pitch=500)
    asked = Conversation(
        (
            Turn("user", (first, IMAGE)),
            Turn("assistant", (Text("A cat."),)),
            Turn("user", (last,)),
        )
    )
    found, _ = written(asked, first="What is it?", last="Which color?")
    assert [turn.parts for turn in found.turns] == [
        (IMAGE, Text("What is it?")),
        (Text("A cat."),),
        (Text("Which color?"),),
    ]


def test_the_same_sound_is_transcribed_once_with_the_hotwords() -> None:
    scripted = Scripted({"question.ogg": "What is it?"})
    asked = Conversation.from_prompt("Well?", sound(), sound())

    async def main() -> None:
        _, transcripts = await transcribed(asked, scripted, hotwords="espresso")
        assert [one.text for one in transcripts] == ["What is it?"] * 2

    anyio.run(main)
    assert scripted.asked == [("question.ogg", "espresso")]


PARTS = st.lists(
    st.sampled_from(
        [
            IMAGE,
            Text("Text."),
            Text(" "),
            sound("a.ogg", 0.01),
            sound("b.ogg", 0.01, 500),
            Video((Frame(0.0, IMAGE),), 0.1, sound("c.ogg", 0.01, 700), "c.mp4"),
        ]
    ),
    max_size=6,
)


@given(st.lists(PARTS, min_size=1, max_size=3))
def test_no_sound_and_no_word_is_lost(turns: list[list[Part]]) -> None:
    asked = Conversation(
        tuple(
            Turn("user" if place % 2 == 0 else "assistant", tuple(found))
            for place, found in enumerate(turns)
        )
    )
    said = {f"{name}.ogg": f"said in {name}" for name in "abc"}
    found, transcripts = anyio.run(transcribed, asked, Scripted(dict(said)))
    assert not found.sounds
    assert [one.text for one in transcripts] == [said[str(one.name)] for one in asked.sounds]
    texts = "".join(p.text for turn in found.turns for p in turn.parts if isinstance(p, Text))
    for audio in asked.sounds:
        assert texts.count(said[str(audio.name)]) == asked.sounds.count(audio)
    assert texts.count("Text.") == sum(part == Text("Text.") for turn in turns for part in turn)
    kept = [part for turn in found.turns for part in turn.parts if isinstance(part, Image)]
    assert len(kept) == sum(part == IMAGE for turn in turns for part in turn)


def test_sounds_with_equal_samples_are_equal_whatever_their_name() -> None:
    assert sound("a.ogg") == sound("b.ogg")
    assert isinstance(sound(), Audio)
