"""Sounds for a pair of models: passed on if both hear, else transcribed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TypeAlias
from weakref import WeakValueDictionary

import anyio

from dreamr.conversation import Audio, Conversation, Video
from dreamr.engines import Engine
from dreamr.engines.protocol import Preparable
from dreamr.errors import EngineLost, Unsupported
from dreamr.speech.hearing import needs_transcript, sound_names, transcribed
from dreamr.speech.opening import OpenTranscriber, open_transcriber
from dreamr.speech.transcript import Transcriber, Transcript
from dreamr.steps import Role

_KEPT = 256  # transcripts
Transcripts: TypeAlias = tuple[tuple[str, str], ...]  # name and text of each sound


class PairSpeech:
    """Decides for each conversation whether its sounds are transcribed.

    Transcripts are kept: clients of a chat send the whole conversation with each turn, and its
    earlier turns must stay the same.

    Args:
        open_transcriber: Makes a transcriber of its name.
    """

    def __init__(self, open_transcriber: OpenTranscriber = open_transcriber) -> None:
        self._open = open_transcriber
        self._transcriber: Transcriber | None = None
        self._known: OrderedDict[tuple[Audio, str], Transcript] = OrderedDict()
        self._locks: WeakValueDictionary[tuple[Audio, str], anyio.Lock] = WeakValueDictionary()

    async def start(self, spec: str | None, model: str | None = None) -> None:
        """Open and start the transcriber.

        Args:
            spec: URL, folder or name; None for no transcriber. See `open_transcriber`.
            model: Name of the model at the server.

        Raises:
            DreamrError: The errors of `open_transcriber` and `Transcriber.start`.
        """
        if spec is not None:
            self._transcriber = self._open(spec, model)
            await self._transcriber.start()

    async def aclose(self) -> None:
        """Close the transcriber; idempotent."""
        transcriber, self._transcriber = self._transcriber, None
        if transcriber is not None:
            await transcriber.aclose()

    async def written(
        self,
        conversation: Conversation,
        engines: Mapping[Role, Engine],
        *,
        hotwords: str = "",
    ) -> tuple[Conversation, Transcripts]:
        """Return a conversation that both models take, and what was transcribed for it.

        Args:
            conversation: The conversation.
            engines: The engines of the run.
            hotwords: Words that are likely in the sounds.

        Raises:
            NoSpeech: If the question is a sound without speech.
            Unsupported: If a model does not hear and there is no transcriber.
            EngineError: If transcribing fails, or the target does.
        """
        if not conversation.sounds:
            return conversation, ()
        await _prepare(engines, conversation)
        able = {role: engine.capabilities for role, engine in engines.items()}
        if not needs_transcript(able.get("target"), able.get("draft")):
            return conversation, ()
        if self._transcriber is None:
            raise Unsupported(_advice(engines, conversation))
        written, transcripts = await transcribed(conversation, self, hotwords=hotwords)
        texts = (transcript.text for transcript in transcripts)
        return written, tuple(zip(sound_names(conversation), texts, strict=True))

    async def transcribe(self, audio: Audio, *, hotwords: str = "") -> Transcript:
        """Return the words of a sound, transcribed once; see `Transcribing.transcribe`."""
        key = audio, hotwords
        if (lock := self._locks.get(key)) is None:
            lock = self._locks[key] = anyio.Lock()
        async with lock:  # choices of one request ask for the same sound at the same time
            if (known := self._known.get(key)) is None:
                assert self._transcriber is not None
                known = await self._transcriber.transcribe(audio, hotwords=hotwords)
            self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return known


async def _prepare(engines: Mapping[Role, Engine], conversation: Conversation) -> None:
    """Let the engines find out whether they take the sounds."""
    for role, engine in engines.items():
        if not isinstance(engine, Preparable):
            continue
        try:
            await engine.prepare(conversation)
        except EngineLost:
            if role == "target" or len(engines) == 1:
                raise  # else the run continues without the draft


def _advice(engines: Mapping[Role, Engine], conversation: Conversation) -> str:
    """Return the message about sound that a model does not take."""
    role, engine = next(
        (role, engine) for role, engine in engines.items() if engine.capabilities.hears is False
    )
    parts = (part for turn in conversation.turns for part in turn.parts)
    mute = any(isinstance(part, Video) and part.sound is not None for part in parts)
    return (
        f"the {role} {engine.name} takes no sound ({engine.capabilities.hearing_problem}): set "
        "--transcriber to the URL of a transcription server or to a Whisper model such as small"
        + (", or leave out the sound of videos with --no-sound (dreamr.sound)" if mute else "")
    )
