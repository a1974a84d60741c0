"""Sounds of a conversation as text, where a model does not hear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from dreamr.conversation import Audio, Conversation, Part, Text, Turn, Video
from dreamr.engines import Capabilities
from dreamr.speech.errors import NoSpeech
from dreamr.speech.transcript import Transcribing, Transcript, sound_name


def needs_transcript(target: Capabilities | None, draft: Capabilities | None) -> bool:
    """Return whether sounds must be transcribed for a pair.

    Both models must see the same conversation, so one that does not hear decides.

    Args:
        target: Capabilities of the target, None if the method does not use one.
        draft: Capabilities of the draft, None if the method does not use one.
    """
    return any(able is not None and able.hears is False for able in (target, draft))


async def transcribed(
    conversation: Conversation, transcriber: Transcribing, *, hotwords: str = ""
) -> tuple[Conversation, tuple[Transcript, ...]]:
    """Return a conversation with text in place of its sounds.

    The last sound of a turn without text is its question: what was said becomes the text of the
    turn, after the other parts. Other sounds, also those of videos, become "Speech in NAME: ...".

    Args:
        conversation: The conversation.
        transcriber: Turns the sounds into text.
        hotwords: Words that are likely in the sounds.

    Returns:
        The conversation, and the transcripts in the order of `Conversation.sounds`.

    Raises:
        NoSpeech: If the question is a sound without speech.
        DreamrError: The errors of `Transcribing.transcribe`.
    """
    found: dict[Audio, Transcript] = {}
    for audio in conversation.sounds:
        if audio not in found:
            found[audio] = await transcriber.transcribe(audio, hotwords=hotwords)
    transcripts = tuple(found[audio] for audio in conversation.sounds)
    question = _question(conversation.turns[-1])
    if question is not None and not found[question].text:
        raise NoSpeech(
            f"no speech was heard in {sound_name(question)}: record the question again, or type it"
        )
    return with_transcripts(conversation, [one.text for one in transcripts]), transcripts


def with_transcripts(conversation: Conversation, texts: Sequence[str]) -> Conversation:
    """Return a conversation with texts in place of its sounds, as `transcribed` does.

    Args:
        conversation: The conversation.
        texts: What was said in each sound, in the order of `Conversation.sounds`.

    Raises:
        ValueError: If there are more or fewer texts than sounds.
    """
    heard = dict(zip(conversation.sounds, texts, strict=True))
    turns = tuple(_written(turn, heard) for turn in conversation.turns)
    return replace(conversation, turns=turns)


def _question(turn: Turn) -> Audio | None:
    """Return the sound that is the question of a turn; None if its question is typed."""
    if turn.role != "user" or any(
        isinstance(part, Text) and part.text.strip() for part in turn.parts
    ):
        return None
    return next((part for part in reversed(turn.parts) if isinstance(part, Audio)), None)


def _written(turn: Turn, found: Mapping[Audio, str]) -> Turn:
    """Return a turn with text in place of its sounds."""
    question = _question(turn)
    if question is None or not found[question]:
        return replace(turn, parts=tuple(_parts(turn.parts, found)))
    last = max(place for place, part in enumerate(turn.parts) if part is question)
    rest = [*turn.parts[:last], *turn.parts[last + 1 :]]
    others = [part for part in rest if not isinstance(part, Text)]  # texts are blank
    return replace(turn, parts=(*_parts(others, found), Text(found[question])))


def sound_names(conversation: Conversation) -> tuple[str, ...]:
    """Return the names of the sounds of a conversation, in the order of `Conversation.sounds`."""
    parts = (part for turn in conversation.turns for part in turn.parts)
    return tuple(_name(part) for part in parts if _sound(part) is not None)


def _sound(part: Part) -> Audio | None:
    found = part.sound if isinstance(part, Video) else part
    return found if isinstance(found, Audio) else None


def _name(part: Part) -> str:
    named = part.name if isinstance(part, Audio | Video) else None
    return named or ("the video" if isinstance(part, Video) else "the recording")


def _parts(parts: Sequence[Part], found: Mapping[Audio, str]) -> Iterator[Part]:
    for part in parts:
        if (sound := _sound(part)) is None:
            yield part
            continue
        if isinstance(part, Video):
            yield replace(part, sound=None)
        said, name = found[sound], _name(part)
        yield Text(f"Speech in {name}: {said}\n" if said else f"There is no speech in {name}.\n")
