"""A real Whisper hears real voices; scripts/test-speech installs both."""

from __future__ import annotations

import io
import os
import subprocess
import threading
import wave
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import anyio
import numpy as np
import pytest
from dreamr_testbed import RECEIPT
from dreamr_testbed.suites.words import GOODS

from dreamr import Conversation, Reasoner, RunOptions
from dreamr.conversation import Audio, read_attachment, read_image
from dreamr.errors import EngineError, ModelNotFound
from dreamr.speech import Transcript, open_transcriber
from dreamr.trace import SpeechTranscribed
from support.sounds import RATE, audio, silence, sound

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("DREAMR_SPEECH") or ROOT / ".speech")
pytestmark = [
    pytest.mark.speech,
    pytest.mark.skipif(
        not (FOLDER / "installed.sha256").is_file() or find_spec("faster_whisper") is None,
        reason="no speech: see scripts/test-speech",
    ),
]
QUESTIONS = (
    "What do tea and milk cost together?",
    "How much is the coffee?",
    "Which item is the most expensive one?",
    "What is the total of this receipt?",
    "How many red circles are there in the image?",
    "Is the blue square larger than the green one?",
)
WHISPER = str(FOLDER / "whisper")


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> list[Audio]:
    """The questions, spoken."""
    folder = tmp_path_factory.mktemp("voices")
    files = [folder / f"{number}.wav" for number in range(len(QUESTIONS))]
    for file, question in zip(files, QUESTIONS, strict=True):
        say(question, file)
    return [read(file) for file in files]


def say(text: str, file: Path) -> None:
    command = [str(ROOT / "scripts" / "engines" / "say"), str(FOLDER), text, str(file)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)


def read(file: Path) -> Audio:
    """A sound as it is in a conversation."""
    found = read_attachment(file)
    assert isinstance(found, Audio)
    return found


def heard(sounds: Sequence[Audio], hotwords: str = "") -> list[Transcript]:
    async def main() -> list[Transcript]:
        whisper = open_transcriber(WHISPER)
        try:
            await whisper.start()
            return [await whisper.transcribe(one, hotwords=hotwords) for one in sounds]
        finally:
            await whisper.aclose()

    return anyio.run(main)


def plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum() or c == " ")


def test_spoken_questions_are_heard(voices: list[Audio]) -> None:
    transcripts = heard(voices)
    right = [
        plain(found.text) == plain(question)
        for found, question in zip(transcripts, QUESTIONS, strict=True)
    ]
    assert sum(right) >= len(QUESTIONS) - 1, [found.text for found in transcripts]
    assert {found.language for found in transcripts} == {"en"}


def test_hotwords_are_taken(voices: list[Audio]) -> None:
    [found] = heard(voices[:1], "tea, milk")
    assert plain(found.text) == plain(QUESTIONS[0])


def test_silence_and_tones_hold_no_speech() -> None:
    rng = np.random.default_rng(7)
    noise = (rng.standard_normal(2 * RATE) * 300).astype("<i2")
    quiet = [silence(), sound(), audio(memoryview(noise), "noise.ogg"), silence(seconds=0.0)]
    assert [found.text for found in heard(quiet)] == [""] * len(quiet)


def test_speech_between_silence_is_heard(voices: list[Audio]) -> None:
    with wave.open(io.BytesIO(voices[0].data)) as file:
        said = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    pause = np.zeros(35 * RATE, "<i2")  # longer than what the model hears at once
    [found] = heard([audio(memoryview(np.concatenate([pause, said, pause])), "long.ogg")])
    assert plain(found.text).endswith("together")


def test_the_event_loop_goes_on_while_a_model_listens(voices: list[Audio]) -> None:
    turns = 0

    async def main() -> None:
        async def count() -> None:
            nonlocal turns
            while True:
                await anyio.sleep(0.001)
                turns += 1

        whisper = open_transcriber(WHISPER)
        await whisper.start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)
            before = turns
            await whisper.transcribe(voices[0])
            assert turns > before
            tasks.cancel_scope.cancel()

    anyio.run(main)


def test_a_sound_that_takes_too_long_is_given_up(
    voices: list[Audio], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dreamr.speech import whisper

    stopped = threading.Event()

    def endless(model: object, audio: Audio, hotwords: str, stop: threading.Event) -> Transcript:
        assert stop.wait(20)
        stopped.set()
        return Transcript("", None, 0.0)

    monkeypatch.setattr(whisper, "time_limit", lambda audio: 0.2)
    monkeypatch.setattr(whisper, "_transcribe", endless)
    with pytest.raises(EngineError, match=r"0.wav was not transcribed within 0 s: use a smaller"):
        heard(voices[:1])
    assert stopped.wait(20)


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"):
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(ModelNotFound, match=r"cannot be loaded \(.*\): pass a folder, a size"):
        anyio.run(open_transcriber(str(tmp_path)).start)


def test_a_size_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFound, match=r"--transcriber enormous cannot be loaded"):
        anyio.run(open_transcriber("enormous").start)


@pytest.mark.slow
def test_the_bundled_pair_answers_a_spoken_question(voices: list[Audio]) -> None:
    spoken = Conversation.from_prompt("", voices[0], read_image(RECEIPT))
    options = RunOptions(transcriber=WHISPER, hotwords=", ".join(GOODS))
    with Reasoner(options) as reasoner:
        result = reasoner.ask(spoken)
    [event] = [event for event in result.events if isinstance(event, SpeechTranscribed)]
    assert plain(event.text) == plain(QUESTIONS[0])
    assert (result.complete, result.answer) == (True, "28")
