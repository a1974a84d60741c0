"""Parts of a conversation as JSON values, with their media embedded."""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Any

from dreamr.conversation import (
    Audio,
    Document,
    Frame,
    Image,
    Page,
    Part,
    Text,
    Video,
    VideoFile,
    as_file,
    read_image,
)
from dreamr.errors import ConversationError


def part_to_json(part: Part) -> dict[str, Any]:
    """Return a part as JSON values: images as files, sound as a WAV file, both in base64.

    Raises:
        ValueError: If it is the file of a video, which is recorded by its frames.
    """
    match part:
        case Text(text):
            return {"text": text}
        case Image():
            return {"image": _image(part)}
        case Audio():
            return {"audio": _audio(part)}
        case Document():
            pages = [
                {"number": page.number, "image": _image(page.image), "text": page.text}
                for page in part.pages
            ]
            return {"document": {"name": part.name, "count": part.count, "pages": pages}}
        case Video():
            frames = [{"seconds": f.seconds, "image": _image(f.image)} for f in part.frames]
            sound = None if part.sound is None else _audio(part.sound)
            known = {"name": part.name, "seconds": part.seconds}
            return {"video": {**known, "frames": frames, "sound": sound}}
        case VideoFile():
            raise ValueError("the file of a video is not recorded: pass the Video with its frames")


def part_from_json(values: Any) -> Part:
    """Return the part of JSON values.

    Raises:
        ValueError: If they are not those of a part; the message says why.
    """
    kinds = [kind for kind in _READERS if isinstance(values, dict) and kind in values]
    if len(kinds) != 1:
        raise ValueError(f"a part must have one of {', '.join(_READERS)}")
    kind = kinds[0]
    try:
        return _READERS[kind](values[kind])
    except (KeyError, TypeError, ValueError, AttributeError, ConversationError) as error:
        raise ValueError(f"{'an' if kind[0] in 'ai' else 'a'} {kind} is damaged") from error


def _image(image: Image) -> str:
    return b64encode(as_file(image).data).decode()


def _audio(audio: Audio) -> dict[str, Any]:
    return {
        "name": audio.name,
        "seconds": audio.seconds,
        "wav": b64encode(audio.data).decode(),
    }


def _read_text(value: Any) -> Text:
    return Text(_typed(value, str))


def _read_image(value: Any) -> Image:
    return read_image(b64decode(_typed(value, str)))


def _read_audio(value: Any) -> Audio:
    data = b64decode(_typed(value["wav"], str), validate=True)
    if data[:4] != b"RIFF":
        raise ValueError("not a WAV file")
    return Audio(data, _seconds(value), _name(value))


def _read_document(value: Any) -> Document:
    count = _typed(value["count"], int)
    pages = tuple(
        Page(_typed(p["number"], int), _read_image(p["image"]), _typed(p["text"], str))
        for p in value["pages"]
    )
    if not all(1 <= page.number <= count for page in pages):
        raise ValueError("a page beyond the end")
    return Document(pages, count, _name(value))


def _read_video(value: Any) -> Video:
    frames = tuple(Frame(_seconds(f), _read_image(f["image"])) for f in value["frames"])
    sound = None if value["sound"] is None else _read_audio(value["sound"])
    return Video(frames, _seconds(value), sound, _name(value))


def _seconds(value: Any) -> float:
    seconds = value["seconds"]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError("a number expected")
    if not 0 <= seconds <= sys.float_info.max:  # JSON of Python has NaN and Infinity
        raise ValueError("a time expected")
    return float(seconds)


def _name(value: Any) -> str | None:
    return None if value["name"] is None else _typed(value["name"], str)


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{kind.__name__} expected")
    return value


_READERS: Mapping[str, Callable[[Any], Part]] = {
    "text": _read_text,
    "image": _read_image,
    "audio": _read_audio,
    "document": _read_document,
    "video": _read_video,
}
