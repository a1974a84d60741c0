from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from dreamr.conversation import Part, Text
from dreamr.training.record_parts import part_from_json, part_to_json
from support.attachments import document, image, sound, video


@pytest.mark.parametrize(
    "part",
    [
        Text("What?"),
        Text(""),
        image(7),
        sound(),
        document(1, 3, text="Total"),
        document(2),
        video(3),
        video(1, sound=sound(name=None)),
    ],
    ids=lambda part: type(part).__name__,
)
def test_a_part_survives_a_file_of_records(part: Part) -> None:
    line = json.dumps(part_to_json(part))
    assert part_from_json(json.loads(line)) == part


def test_names_and_times_survive_too() -> None:
    found = part_from_json(part_to_json(video(2, sound=sound())))
    assert (found.name, found.seconds) == ("clip.mp4", 2.0)  # type: ignore[union-attr]
    assert found.sound.name == "question.wav"  # type: ignore[union-attr]


WAV = part_to_json(sound())["audio"]["wav"]


def beyond(field: str, value: object) -> Any:
    """Return a document of three pages in which a page has another value."""
    values = part_to_json(replace(document(1), count=3))
    values["document"]["pages"][0][field] = value
    return values


def late(seconds: float) -> Any:
    values = part_to_json(video(1))
    values["video"]["frames"][0]["seconds"] = seconds
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "a part must have one of text, image, audio, document, video"),
        ({}, "a part must have one of"),
        ({"sound": "x"}, "a part must have one of"),
        ({"text": "x", "image": "y"}, "a part must have one of"),
        ({"text": 1}, "a text is damaged"),
        ({"image": "?"}, "an image is damaged"),
        ({"audio": {"name": None, "seconds": 1, "wav": "AAAA"}}, "an audio is damaged"),
        ({"audio": {"name": None, "wav": ""}}, "an audio is damaged"),
        ({"document": {"name": 3, "count": 1, "pages": []}}, "a document is damaged"),
        ({"document": {"name": None, "count": 1, "pages": [{"number": 1}]}}, "a document is"),
        ({"video": {"name": None, "seconds": "x", "frames": [], "sound": None}}, "a video is"),
        ({"video": []}, "a video is damaged"),
        ({"audio": {"name": None, "seconds": float("nan"), "wav": WAV}}, "an audio is damaged"),
        ({"audio": {"name": None, "seconds": -1, "wav": WAV}}, "an audio is damaged"),
        ({"audio": {"name": None, "seconds": True, "wav": WAV}}, "an audio is damaged"),
        ({"audio": {"name": None, "seconds": 10**400, "wav": WAV}}, "an audio is damaged"),
        (beyond("number", 4), "a document is damaged"),
        (beyond("number", 0), "a document is damaged"),
        (late(float("inf")), "a video is damaged"),
    ],
)
def test_damaged_values_are_refused_in_one_line(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        part_from_json(values)
    assert "\n" not in str(caught.value)
