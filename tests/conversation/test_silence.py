from __future__ import annotations

import random
import struct

import pytest

from dreamr.conversation import Audio
from support.media_files import tone


def audio(wav: bytes) -> Audio:
    return Audio(wav, 1.0)


@pytest.mark.parametrize("volume", [0.0, 0.001])
def test_silence_and_a_trace_of_noise_are_silent(volume: float) -> None:
    assert audio(tone(2.5, volume=volume)).is_silent


def test_a_constant_offset_is_silent() -> None:
    head = tone(1)[:44]
    assert audio(head + struct.pack("<16000h", *[900] * 16000)).is_silent


def test_a_word_at_the_end_of_minutes_of_silence_is_heard() -> None:
    head, silence, word = tone(121)[:44], bytes(2 * 16000 * 120), tone(1)[44:]
    assert not audio(head + silence + word).is_silent


def test_quiet_speech_is_heard() -> None:
    noise = random.Random(1)
    samples = [round(noise.gauss(0, 300)) for _ in range(16000)]
    assert not audio(tone(1)[:44] + struct.pack("<16000h", *samples)).is_silent
    assert not audio(tone(0.02)).is_silent
