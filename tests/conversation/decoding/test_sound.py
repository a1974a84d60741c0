from __future__ import annotations

import io
import itertools
import struct
import wave
from typing import Any

import pytest

from dreamr.conversation import (
    AttachmentError,
    Audio,
    AudioDamaged,
    AudioEmpty,
    AudioTooLong,
    MissingCodec,
    read_attachment,
)
from support.media_files import sound_file, tone


def read(data: bytes, **options: Any) -> Audio:
    found = read_attachment(data, name="question.ogg", **options)
    assert isinstance(found, Audio)
    return found


def crossings(audio: Audio) -> float:
    """How often a second the sound rises through zero, which is the pitch of a tone."""
    with wave.open(io.BytesIO(audio.data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        count = file.getnframes()
        samples = struct.unpack(f"<{count}h", file.readframes(count))
    assert audio.seconds == pytest.approx(count / 16_000)
    middle = samples[count // 4 : 3 * count // 4]
    rises = sum(a < 0 <= b for a, b in itertools.pairwise(middle))
    return rises / (len(middle) / 16_000)


FORMATS = [
    ("ogg", "libopus", 48_000), ("mp3", "libmp3lame", 44_100),
    ("mp4", "aac", 44_100), ("flac", "flac", 22_050), ("webm", "libopus", 48_000),
    ("wav", "pcm_s16le", 8_000), ("adts", "aac", 44_100), ("aiff", "pcm_s16be", 44_100),
]  # fmt: skip


@pytest.mark.parametrize(("container", "codec", "rate"), FORMATS)
def test_a_format_becomes_wav_of_sixteen_kilohertz(container: str, codec: str, rate: int) -> None:
    found = read(sound_file(container, codec, 1.5, rate=rate))
    assert found.name == "question.ogg"
    assert found.seconds == pytest.approx(1.5, abs=0.12)
    assert crossings(found) == pytest.approx(440, abs=4)


def test_the_channels_are_mixed() -> None:
    assert crossings(read(tone(1, rate=44_100, channels=2))) == pytest.approx(440, abs=4)


def test_silence_is_recognized() -> None:
    assert read(tone(1, volume=0)).is_silent
    assert not read(tone(1)).is_silent


def test_a_file_without_sound_is_empty() -> None:
    with pytest.raises(AudioEmpty, match=r"question\.ogg has no sound in it"):
        read(tone(0))


@pytest.mark.parametrize("container", ["ogg", "mp3", "flac", "wav"])
def test_a_cut_file_gives_what_is_there_or_is_damaged(container: str) -> None:
    codec = {"ogg": "libopus", "mp3": "libmp3lame", "flac": "flac", "wav": "pcm_s16le"}[container]
    data = sound_file(container, codec, 3)
    for size in (12, 50, len(data) // 2, len(data) - 9):
        try:
            seconds, message = read(data[:size]).seconds, "question.ogg"
        except AttachmentError as error:
            seconds, message = 0.0, str(error)
        assert seconds <= 3.2
        assert "question.ogg" in message


def test_marks_of_sound_without_sound_are_damaged() -> None:
    for head in (b"OggS", b"fLaC", b"ID3\x04\0\0\0\0\0\0", b"\xff\xfb\x90\x00"):
        with pytest.raises((AudioDamaged, AudioEmpty), match=r"question\.ogg"):
            read(head + bytes(3000))


def test_half_an_hour_is_read_and_more_is_not() -> None:
    length = 1801 * 8000
    head = bytearray(tone(0, rate=8000))
    head[4:8], head[40:44] = struct.pack("<I", 36 + 2 * length), struct.pack("<I", 2 * length)
    with pytest.raises(AudioTooLong, match=r"question\.ogg lasts longer than 30 minutes"):
        read(bytes(head) + bytes(2 * length))
    assert read(bytes(head) + bytes(2 * 1799 * 8000)).seconds == pytest.approx(1799)


def test_ten_hours_end_before_they_are_decoded() -> None:
    length = 36_000 * 8000
    head = bytearray(tone(0, rate=8000))
    head[4:8], head[40:44] = struct.pack("<I", 36 + 2 * length), struct.pack("<I", 2 * length)
    with pytest.raises(AudioTooLong, match=r"question\.ogg lasts longer than 30 minutes"):
        read(bytes(head) + bytes(2**26))


def test_a_codec_that_cannot_be_decoded_is_named_as_such() -> None:
    wav = bytearray(tone(1))
    wav[20:22] = struct.pack("<H", 0x7FFE)  # a format that no one has
    with pytest.raises((MissingCodec, AudioDamaged), match=r"question\.ogg"):
        read(bytes(wav))
