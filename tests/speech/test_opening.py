from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from dreamr.errors import ModelNotFound, Unsupported
from dreamr.speech import open_transcriber, whisper
from dreamr.speech.served import ServedTranscriber
from dreamr.speech.whisper import WhisperTranscriber


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whisper, "find_spec", lambda name: name)


@pytest.mark.parametrize("spec", ["http://gpu:8000/v1", "localhost:8000", "https://api.test/v1"])
def test_an_address_is_a_server(spec: str) -> None:
    assert isinstance(open_transcriber(spec), ServedTranscriber)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("spec", ["small", "tiny.en", "Systran/faster-whisper-tiny"])
def test_a_name_is_a_model_in_this_process(spec: str) -> None:
    assert isinstance(open_transcriber(spec), WhisperTranscriber)


def test_a_bad_address_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(ModelNotFound, match="not a server URL"):
        open_transcriber("ftp://gpu/v1")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whisper, "find_spec", lambda name: None)
    with pytest.raises(Unsupported, match=r"pip install 'dreamr\[speech\]', or pass the URL"):
        open_transcriber("small")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("spec", ["./whisper", "/no/whisper", "~/no/whisper", " "])
def test_a_folder_that_does_not_exist_is_refused(spec: str) -> None:
    with pytest.raises(ModelNotFound, match="there is no such folder"):
        open_transcriber(spec)


@pytest.mark.usefixtures("installed")
def test_a_folder_that_holds_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelNotFound, match=r"\(model.bin is missing\): convert it with"):
        open_transcriber(str(tmp_path))
    (tmp_path / "model.bin").touch()
    with pytest.raises(ModelNotFound, match=r"\(tokenizer.json is missing\)"):
        open_transcriber(str(tmp_path))
    with pytest.raises(ModelNotFound, match="is not a model of faster-whisper"):
        open_transcriber(str(tmp_path / "model.bin"))


def test_closing_twice_is_harmless() -> None:
    async def main() -> None:
        transcriber = open_transcriber("http://gpu:8000/v1")
        await transcriber.aclose()
        await transcriber.aclose()

    anyio.run(main)
