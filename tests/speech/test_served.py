from __future__ import annotations

import io
import threading
import wave
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import pytest

from dreamr._option_specs import BadOption
from dreamr.engines.http.retries import RetryPolicy, TransientError
from dreamr.errors import EngineError, EngineLost, ModelNotFound
from dreamr.speech import Transcriber, Transcript, open_transcriber
from support.sockets import on_socket
from support.sounds import RATE, TranscriptionServed, silence, sound

Found = TypeVar("Found")


def use(
    served: TranscriptionServed,
    work: Callable[[Transcriber], Awaitable[Found]],
    path: str = "/v1",
    model: str | None = None,
) -> Found:
    async def main(url: str) -> Found:
        transcriber = open_transcriber(url + path, model)
        try:
            return await work(transcriber)
        finally:
            await transcriber.aclose()

    with on_socket(served) as url:
        return anyio.run(main, url)


async def heard(transcriber: Transcriber) -> Transcript:
    return await transcriber.transcribe(sound())


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let retries not wait."""

    async def wait(self: RetryPolicy, error: TransientError) -> None:
        self._left -= 1
        if self._left < 0:
            raise error.final from error

    monkeypatch.setattr(RetryPolicy, "wait", wait)


def test_a_sound_is_sent_as_a_wav_file_to_the_only_model() -> None:
    served = TranscriptionServed()
    transcript = use(served, heard)
    assert transcript == Transcript("What do tea and milk cost together?", None, 0.5)
    [form] = served.forms
    assert (form["model"], form["response_format"]) == (b"whisper-tiny", b"json")
    assert "prompt" not in form
    with wave.open(io.BytesIO(form["file"])) as file:
        assert (file.getframerate(), file.getnframes()) == (RATE, RATE // 2)


@pytest.mark.parametrize("path", ["", "/v1/", "/v1/audio/transcriptions"])
def test_the_address_may_be_given_as_users_copy_it(path: str) -> None:
    served = TranscriptionServed()
    use(served, heard, path)
    assert served.paths == ["/v1/models", "/v1/audio/transcriptions"]


def test_hotwords_are_sent_as_the_prompt() -> None:
    served = TranscriptionServed()

    async def work(transcriber: Transcriber) -> None:
        await transcriber.transcribe(sound(), hotwords="espresso, flat white")

    use(served, work)
    assert served.forms[0]["prompt"] == b"espresso, flat white"


@pytest.mark.parametrize(
    ("models", "chosen"),
    [
        (["base.en"], "base.en"),
        (["gpt", "Systran/faster-whisper-tiny"], "Systran/faster-whisper-tiny"),
        ([], "whisper-1"),
        (None, "whisper-1"),
    ],
)
def test_the_model_is_the_only_one_that_can_be_meant(models: list[str] | None, chosen: str) -> None:
    served = TranscriptionServed(models=models)
    use(served, heard)
    assert served.forms[0]["model"].decode() == chosen


def test_of_several_models_one_has_to_be_chosen() -> None:
    served = TranscriptionServed(models=["whisper-1", "whisper-2"])
    with pytest.raises(ModelNotFound, match="--transcriber-model to one of whisper-1, whisper-2"):
        use(served, heard)
    use(served, heard, model="whisper-2")
    assert served.forms[-1]["model"] == b"whisper-2"
    with pytest.raises(ModelNotFound, match="has no model 'x': set --transcriber-model to one of"):
        use(served, heard, model="x")


def test_a_wrong_or_missing_key_names_the_variable_and_never_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = TranscriptionServed(key="right-key-1234")
    monkeypatch.setenv("DREAMR_TRANSCRIBER_API_KEY", "wrong-key-1234")
    with pytest.raises(EngineLost, match="DREAMR_TRANSCRIBER_API_KEY") as error:
        use(served, heard)
    assert "wrong-key" not in str(error.value)
    monkeypatch.setenv("DREAMR_TRANSCRIBER_API_KEY", "Bearer right-key-1234")
    assert use(served, heard).text
    monkeypatch.delenv("DREAMR_TRANSCRIBER_API_KEY")
    monkeypatch.setenv("DREAMR_API_KEY", "right-key-1234")
    assert use(served, heard).text


def test_a_key_that_cannot_be_sent_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAMR_TRANSCRIBER_API_KEY", "two words")
    with pytest.raises(BadOption, match="DREAMR_TRANSCRIBER_API_KEY contains a space"):
        open_transcriber("http://localhost:1/v1")


@pytest.mark.usefixtures("patient")
def test_a_busy_server_is_asked_again() -> None:
    served = TranscriptionServed(failures=[(503, "busy"), (429, "slow down")])
    assert use(served, heard).text
    assert len(served.forms) == 3


@pytest.mark.usefixtures("patient")
def test_a_server_that_cannot_be_reached_is_named() -> None:
    async def main() -> None:
        transcriber = open_transcriber("http://127.0.0.1:9")
        with pytest.raises(EngineLost, match=r"cannot connect to http://127.0.0.1:9/v1/models"):
            await transcriber.start()
        await transcriber.aclose()

    anyio.run(main)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"failures": [(400, "The model does not support Transcriptions API")]}, "Transcriptions"),
        ({"failures": [(404, "Not Found")]}, "status 404"),
        ({"answer": b"plain text"}, "did not return JSON"),
        ({"answer": {"words": []}}, "sent text as null"),
        ({"answer": {"text": 7}}, "not as text"),
        ({"answer": {"error": {"message": "out of memory"}}}, "out of memory"),
    ],
)
@pytest.mark.usefixtures("patient")
def test_a_server_that_does_not_transcribe_gives_one_line(
    fault: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineError, match=message) as error:
        use(TranscriptionServed(**fault), heard)
    assert "\n" not in str(error.value)


def test_silence_is_empty_and_is_not_sent() -> None:
    served = TranscriptionServed()

    async def work(transcriber: Transcriber) -> Transcript:
        return await transcriber.transcribe(silence())

    assert use(served, work) == Transcript("", None, 0.5)
    assert not served.forms


@pytest.mark.parametrize("text", ["[BLANK_AUDIO]", " (music) ", "♪♪", "[Music] [Applause]", "..."])
def test_notes_in_place_of_speech_are_none(text: str) -> None:
    assert use(TranscriptionServed(text=text), heard).text == ""


def test_speech_with_notes_is_kept_on_one_line() -> None:
    text = "(laughs) It is\n 4.50. \ud83d\ude00"
    assert use(TranscriptionServed(text=text), heard).text == "(laughs) It is 4.50. \U0001f600"


def test_the_language_is_kept_where_the_server_says_it() -> None:
    answer = {"text": "Guten Tag", "language": "de"}
    assert use(TranscriptionServed(answer=answer), heard).language == "de"


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    class Stuck(TranscriptionServed):
        async def handle(self, request: Any) -> Any:
            if request.url.path.endswith("transcriptions"):
                await anyio.to_thread.run_sync(released.wait, 20)
            return await super().handle(request)

    async def work(transcriber: Transcriber) -> None:
        with pytest.raises(EngineError, match=r"question\.ogg was not transcribed"):
            await heard(transcriber)
        released.set()

    monkeypatch.setattr("dreamr.speech.served.time_limit", lambda audio: 0.2)
    use(Stuck(), work)
