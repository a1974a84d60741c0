"""What is asked: the published question, and a request to reason in steps."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from dreamr.conversation import Conversation, Image, ImageError, Part, Text, Turn, read_image
from dreamr.evaluation.tasks.item import BadData
from dreamr.evaluation.tasks.problem import MARKER

LETTER = "the letter of the right choice"
VALUE = "the value alone"
WORDS = "a single word, number or phrase"

_PLACE = re.compile(r"<image (\d+)>")


def request(wanted: str) -> str:
    """How to answer: step by step, and at the end the marker with what is wanted behind it."""
    return (
        "Reason step by step, with a blank line between two steps. "
        f'End with a line of its own: "{MARKER}" and then {wanted}.'
    )


def choices_of(texts: list[str]) -> dict[str, str]:
    """The choices by their letters, in the order given."""
    return {chr(ord("A") + place): text for place, text in enumerate(texts)}


def listed(choices: Mapping[str, str]) -> str:
    """One choice a line, behind its letter."""
    return "\n".join(f"{letter}. {text}" for letter, text in choices.items())


def ask(question: str, wanted: str, images: list[Image]) -> Conversation:
    """One question behind its pictures, and the request to reason."""
    return Conversation.from_prompt(f"{question.strip()}\n\n{request(wanted)}", *images)


def ask_interleaved(text: str, wanted: str, images: Mapping[int, Image]) -> Conversation:
    """A question with its pictures in the places `<image n>`, n from 1.

    A picture is shown where it is first named; later names stay as they are. Pictures that are
    never named are left out, unless none is: then all come first.
    """
    named = [int(number) for number in _PLACE.findall(text)]
    if not any(number in images for number in named):
        return ask(text, wanted, list(images.values()))
    parts: list[Part] = []
    left = dict(images)
    start = 0
    for place in _PLACE.finditer(text):
        number = int(place[1])
        if number in left:
            _add_text(parts, text[start : place.start()])
            parts.append(left.pop(number))
            start = place.end()
    _add_text(parts, f"{text[start:].strip()}\n\n{request(wanted)}")
    return Conversation((Turn("user", tuple(parts)),))


def _add_text(parts: list[Part], text: str) -> None:
    if text.strip():
        parts.append(Text(text))


def image_of(value: Any, where: str) -> Image:
    """A picture as the hub stores it: a struct of `bytes` and `path`, or the bytes alone.

    Args:
        value: the column's value.
        where: names the item in errors.

    Raises:
        BadData: there is none, or it cannot be decoded.
    """
    data = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(data, bytes):
        raise BadData(f"{where} has no picture's bytes: use the set's parquet files with pictures")
    try:
        return read_image(data)
    except ImageError as error:
        raise BadData(f"{where}: {error}") from error


def string_list(value: Any, where: str) -> list[str]:
    """A list of texts, or a text that is one in Python's notation.

    Raises:
        BadData: it is neither.
    """
    try:
        values = ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise BadData(f"{where}: its list of choices cannot be read: {value[:60]}") from error
    if not isinstance(values, list | tuple):
        raise BadData(f"{where}: its choices are no list")
    return [str(each) for each in values]


def text_of(value: Any) -> str:
    """A column's text; the published files write a missing one as null, as "nan" or as nothing."""
    text = "" if value is None else str(value).strip()
    return "" if text.lower() == "nan" else text
