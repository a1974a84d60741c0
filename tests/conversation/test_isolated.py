from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import anyio
import PIL.Image
import pytest

from dreamr.conversation import AttachmentError, read_image, read_image_isolated
from dreamr.conversation import isolated as _isolated
from dreamr.conversation.errors import (
    AttachmentEmpty,
    DecoderUnavailable,
    ImageDamaged,
    ImageTooManyPixels,
    NotAnImage,
)


def noise(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.effect_noise((width, height), 90).save(buffer, "PNG")
    return buffer.getvalue()


def read(data: bytes, **limits: Any) -> Any:
    async def main() -> Any:
        return await read_image_isolated(data, **{"max_pixels": 100_000, **limits})

    return anyio.run(main)


def test_the_image_is_the_same_as_in_the_own_process() -> None:
    data = noise(200, 100)
    assert read(data) == read_image(data)
    assert read(data, fit=500) == read_image(data, fit=500)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", AttachmentEmpty), (b"hello", NotAnImage), (noise(60, 50)[:-300], ImageDamaged),
        (noise(400, 300), ImageTooManyPixels),
    ],
)  # fmt: skip
def test_errors_are_those_of_reading_in_the_own_process(
    data: bytes, kind: type[AttachmentError]
) -> None:
    with pytest.raises(kind) as own:
        read_image(data, max_pixels=100_000)
    with pytest.raises(kind) as found:
        read(data)
    assert str(found.value) == str(own.value)


@pytest.mark.parametrize(
    "program", ["import os; os.abort()", "raise MemoryError", "print('a lot of text')"]
)
def test_a_decoder_that_crashes_is_a_damaged_image(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_isolated, "_BOOT", program)
    with pytest.raises(ImageDamaged):
        read(noise(3, 2))


def test_without_another_process_the_decoder_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "missing"))
    with pytest.raises(DecoderUnavailable, match="no process can be started"):
        read(noise(3, 2))


def test_a_decoder_that_takes_too_long_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = tmp_path / "pid"
    endless = (
        f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(99)"
    )
    monkeypatch.setattr(_isolated, "_BOOT", endless)
    monkeypatch.setattr(_isolated, "_SECONDS", 1)
    with pytest.raises(ImageDamaged, match="within 1 s"):
        read(noise(3, 2))
    if sys.platform == "linux" and started.exists():
        assert not Path(f"/proc/{started.read_text()}").exists()
