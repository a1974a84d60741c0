"""Sounds, a scripted transcriber, and scripted servers that take or transcribe them."""

from __future__ import annotations

import io
import json
import math
import wave
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import HTTP
from typing import Any, Literal

import httpx2

from dreamr.conversation import Audio
from dreamr.speech import Transcript
from support.served import Json, Served

RATE = 16_000


def sound(name: str | None = "question.ogg", seconds: float = 0.5, pitch: float = 300.0) -> Audio:
    """A tone; other pitches are other sounds."""
    count = round(seconds * RATE)
    samples = (round(8000 * math.sin(2 * math.pi * pitch * n / RATE)) for n in range(count))
    return audio(array("h", samples), name)


def silence(name: str | None = "question.ogg", seconds: float = 0.5) -> Audio:
    return audio(array("h", [0]) * round(seconds * RATE), name)


def audio(samples: array[int], name: str | None) -> Audio:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(samples.tobytes())
    return Audio(file.getvalue(), len(samples) / RATE, name)


@dataclass
class Scripted:
    """A transcriber that knows what is said in each sound.

    Attributes:
        said: What is said in a sound, by its name.
        asked: Names of the sounds that were transcribed, and their hotwords.
        error: Raised when it starts.
        open: Whether it was started and not closed.
    """

    said: dict[str | None, str] = field(default_factory=dict)
    asked: list[tuple[str | None, str]] = field(default_factory=list)
    error: Exception | None = None
    open: bool = False

    async def start(self) -> None:
        if self.error is not None:
            raise self.error
        self.open = True

    async def transcribe(self, audio: Audio, *, hotwords: str = "") -> Transcript:
        self.asked.append((audio.name, hotwords))
        return Transcript(self.said.get(audio.name, ""), "en", audio.seconds)

    async def aclose(self) -> None:
        self.open = False


@dataclass
class SoundServed(Served):
    """A model server that takes sounds, or does not.

    Attributes:
        sounds: What it does with a sound: the prompt gets a token of it for every 0.1 s, the
            request is refused, or the sound is ignored.
        ids: What it does with a uuid: it finds sounds by it, or refuses them without data, or
            takes sounds without data as any other.
        kept: Sounds by uuid.
    """

    sounds: Literal["heard", "refused", "ignored"] = "heard"
    message: str = "At most 0 audio(s) may be provided in one prompt."
    ids: Literal["found", "refused", "ignored"] = "found"
    kept: dict[str, str] = field(default_factory=dict)

    def _answer(self, body: Json) -> httpx2.Response:
        if self.sounds == "refused" and any(_sounds(body)):
            return httpx2.Response(400, json={"error": {"message": self.message}})
        if not all(self._has(part) for part in _sounds(body)):
            return httpx2.Response(400, json={"error": {"message": "Cache miss for audio."}})
        return super()._answer(body)

    def _has(self, part: Json) -> bool:
        """Return whether the sound of a part is there; keep it if it came."""
        uuid, data = part.get("uuid"), part.get("input_audio", part)
        if data is part or data["data"]:
            if uuid is not None:
                self.kept[uuid] = data["data"]
            return True
        return self.ids == "ignored" or (self.ids == "found" and uuid in self.kept)

    @property
    def asked(self) -> list[Json]:
        """Sounds of the requests, without those of checks and trials, which are short."""
        parts = [part for body in self.heard for part in _sounds(body)]
        return [part for part in parts if self._length(part) >= 2**16]

    def _length(self, part: Json) -> int:
        return len(part["input_audio"]["data"] or self.kept.get(part.get("uuid", ""), ""))

    def render(self, body: Json) -> str:
        if "prompt" in body:
            return super().render(body)
        turns = [{**turn, "content": self._shown(turn["content"])} for turn in body["messages"]]
        return super().render({**body, "messages": turns})

    def _shown(self, content: Any) -> str:
        if isinstance(content, str):
            return content
        heard = "<sound> " * 10 if self.sounds == "heard" else ""
        return " ".join(part.get("text", heard) for part in content)

    @property
    def heard(self) -> list[Json]:
        """Requests with sounds."""
        return [body for body in self.chats if any(_sounds(body))]


def _sounds(body: Json) -> Iterator[Json]:
    for turn in body.get("messages", ()):
        if isinstance(turn["content"], list):
            kinds = ("input_audio", "audio_url")
            yield from (part for part in turn["content"] if part["type"] in kinds)


@dataclass
class TranscriptionServed:
    """A server of transcriptions.

    Attributes:
        text: What it hears in every sound.
        models: Names in its list of models; None: it has no list.
        key: API key that it requires; None: none.
        failures: What the next requests for transcriptions meet: status and message.
        answer: Replaces the JSON of an answer.
        forms: Fields of each request for a transcription.
        paths: Paths of all requests.
    """

    text: str = " What do tea and milk cost together? "
    models: list[str] | None = field(default_factory=lambda: ["whisper-tiny"])
    key: str | None = None
    failures: list[tuple[int, str]] = field(default_factory=list)
    answer: Any = None
    forms: list[dict[str, bytes]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        self.paths.append(request.url.path)
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return httpx2.Response(401, json={"error": {"message": "wrong key"}})
        if request.url.path == "/v1/models" and self.models is not None:
            return httpx2.Response(200, json={"data": [{"id": name} for name in self.models]})
        if request.url.path != "/v1/audio/transcriptions":
            return httpx2.Response(404, json={"detail": "Not Found"})
        self.forms.append(form(request))
        if self.failures:
            status, message = self.failures.pop(0)
            return httpx2.Response(status, json={"error": {"message": message}})
        found = {"text": self.text} if self.answer is None else self.answer
        content = found if isinstance(found, bytes) else json.dumps(found).encode()
        return httpx2.Response(200, content=content)


def form(request: httpx2.Request) -> dict[str, bytes]:
    """The fields of a form, by name."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    parts = message_from_bytes(head + request.content, policy=HTTP).iter_parts()
    return {
        str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)
        for part in parts
    }
