"""Prompts: the published question and a request to reason in steps."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dreamr.conversation import (
    Attachment,
    AttachmentError,
    Conversation,
    Image,
    Part,
    Text,
    Turn,
    read_image,
)
from dreamr.evaluation.tasks.answer import MARKER
from dreamr.evaluation.tasks.item import BadData

LETTER = "the letter of the right choice"
VALUE = "the value alone"
WORDS = "a single word, number or phrase"
# Stands for a question that only the image contains.
IN_IMAGE = "Answer the question that is written in the picture."

_PLACE = re.compile(r"<image (\d+)>")


def request(wanted: str) -> str:
    """Return the request to reason step by step and to end with the marker and what is wanted."""
    return (
        "Reason step by step, with a blank line between two steps. "
        f'End with a line of its own: "{MARKER}" and then {wanted}.'
    )


def choices_of(texts: list[str]) -> dict[str, str]:
    """Return the choices by their letters, in the given order."""
    return {chr(ord("A") + place): text for place, text in enumerate(texts)}


def listed(choices: Mapping[str, str]) -> str:
    """Return one line per choice, with its letter first."""
    return "\n".join(f"{letter}. {text}" for letter, text in choices.items())


def ask(question: str, wanted: str, attachments: Sequence[Attachment]) -> Conversation:
    """Create a conversation of the attachments, the question and the request to reason."""
    return ask_with(question, request(wanted), attachments)


def ask_with(question: str, instruction: str, attachments: Sequence[Attachment]) -> Conversation:
    """Create a conversation of the attachments, the question and an instruction.

    The question can be empty if it is spoken, the instruction if the models need none.
    """
    text = f"{question.strip()}\n\n{instruction.strip()}".strip()
    return Conversation.from_prompt(text, *attachments)


def ask_interleaved(text: str, wanted: str, images: Mapping[int, Image]) -> Conversation:
    """Create a conversation with the images at the places `<image n>` in the text, n from 1.

    An image is placed at its first reference; later references stay as text. Images without a
    reference are left out. If no image has a reference, all of them come first.
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
    """Decode an image in the form of the hub: a struct of `bytes` and `path`, or the bytes alone.

    Args:
        value: Value of the column.
        where: Name of the item, for errors.

    Raises:
        BadData: If there is no image or it cannot be decoded.
    """
    data = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(data, bytes):
        raise BadData(f"{where} has no image data: use a parquet file that contains the images")
    try:
        return read_image(data)
    except AttachmentError as error:
        raise BadData(f"{where}: {error}") from error


def string_list(value: Any, where: str) -> list[str]:
    """Return a list of strings, given as a list or as a string in Python notation.

    Args:
        value: Value of the column.
        where: Name of the item, for errors.

    Raises:
        BadData: If it is not a list.
    """
    try:
        values = ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise BadData(f"{where}: cannot parse the list of choices {value[:60]!r}") from error
    if not isinstance(values, list | tuple):
        raise BadData(f"{where}: the choices must be a list, not {str(value)[:60]!r}")
    return [str(each) for each in values]


def text_of(value: Any) -> str:
    """Return the text of a column, where null and "nan" stand for an empty one."""
    text = "" if value is None else str(value).strip()
    return "" if text.lower() == "nan" else text
