"""Files of the user as tasks: a question, its attachments and the answer in each row.

A file is parquet or JSON Lines. Attachments are embedded, or files named relative to its folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any

from dreamr._option_specs import BadOption
from dreamr.conversation import (
    Attachment,
    AttachmentError,
    BadConversation,
    Conversation,
    MediaOptions,
    read_attachment,
)
from dreamr.evaluation.tasks.item import BadData, Item
from dreamr.evaluation.tasks.places import NOWHERE, Places
from dreamr.evaluation.tasks.public.answers import digits, folded, stated
from dreamr.evaluation.tasks.public.benchmark import Benchmark, Entry
from dreamr.evaluation.tasks.public.lines import Lines
from dreamr.evaluation.tasks.public.numbers import quantity
from dreamr.evaluation.tasks.public.origin import Origin
from dreamr.evaluation.tasks.public.prompts import WORDS, ask_with, request, text_of
from dreamr.evaluation.tasks.public.rows import Row, Rows

_LINES = (".jsonl", ".ndjson")
ENDINGS = (".parquet", *_LINES)
_COLUMNS = (("attachments", "image"), "question", "answer")


def table(path: str) -> Benchmark:
    """Return the task of a file with the columns attachments (or image), question and answer.

    The attachments may be null, but the column must exist. `places` says where in them the answer
    is found (see `Places`), `read` how much of a document or video is read (see `MediaOptions`).
    `instruction` follows the question, in place of the request to reason step by step. An answer is
    right if it has the same words or is the same number.
    """
    return Benchmark(
        name=path,
        origin=Origin(path, Path(path).stem),
        columns=_COLUMNS,
        item=partial(_item, path),
        reader=Lines if path.endswith(_LINES) else Rows,
    )


def _item(path: str, row: Row, entry: Entry) -> Item:
    try:
        options = _options(row.get("read"))
        places = NOWHERE if row.get("places") is None else Places.from_json(row["places"])
    except ValueError as error:
        raise BadData(f"{entry.where}: {error}") from error
    folder = Path(path).parent
    attached = [_attachment(each, folder, options, entry.where) for each in _attached(row)]
    return Item(
        task=path,
        index=entry.index,
        id=str(entry.index),
        kind=Path(path).stem,
        unit=entry.unit,
        conversation=_conversation(row, attached, entry.where),
        read=said,
        right=partial(says, _answer(row["answer"], entry.where)),
        places=places,
    )


def _answer(value: Any, where: str) -> str:
    """Return an answer as text. The text "nan" is an answer, the number is a missing value.

    Raises:
        BadData: If there is none; an empty completion would be right.
    """
    missing = value is None or (isinstance(value, float) and isnan(value))
    if missing or not folded(str(value)):
        raise BadData(f"{where} has no answer: write the right one, or remove the problem")
    return str(value).strip()


def _conversation(row: Row, attached: list[Attachment], where: str) -> Conversation:
    instruction = row.get("instruction")
    if not isinstance(instruction, str | None):
        raise BadData(f"{where}: the instruction must be text, not {instruction!r:.60}")
    try:
        return ask_with(
            text_of(row["question"]),
            request(WORDS) if instruction is None else instruction,
            attached,
        )
    except BadConversation as error:
        raise BadData(f"{where}: {error}") from error


def _attached(row: Row) -> list[Any]:
    """Return the values of the attachments of a row, the image first."""
    several = row.get("attachments")
    listed = several if isinstance(several, list) else [several]
    return [each for each in (row.get("image"), *listed) if each is not None]


def _attachment(value: Any, folder: Path, options: MediaOptions, where: str) -> Attachment:
    """Read an attachment: a path, bytes, or the hub's struct of `bytes` and `path`.

    Raises:
        BadData: If it is none of these or cannot be read.
    """
    name = None
    if isinstance(value, Mapping):
        named, data = value.get("path"), value.get("bytes")
        name = Path(named).name if isinstance(named, str) else None
        value = named if data is None else data
    if not isinstance(value, str | bytes) or not value:
        raise BadData(
            f"{where} has an attachment without data: embed the file, or name it by its path"
        )
    try:
        return read_attachment(
            folder / value if isinstance(value, str) else value, options, name=name
        )
    except AttachmentError as error:
        raise BadData(f"{where}: {error}") from error


def _options(value: Any) -> MediaOptions:
    """Return how much of the attachments is read.

    Raises:
        ValueError: If an option is unknown or has no such value; the message says which one.
    """
    if value is None:
        return MediaOptions()
    known = [field.name for field in fields(MediaOptions)]
    if not isinstance(value, Mapping) or not set(value) <= set(known):
        raise ValueError(f"read must be an object with {', '.join(known)}, not {value!r:.60}")
    given = {name: each for name, each in value.items() if each is not None}
    try:
        return MediaOptions(**given)
    except (BadOption, AttachmentError, TypeError, AttributeError) as error:
        raise ValueError(f"read cannot be used: {error}") from error


def said(text: str) -> str | None:
    """Return the answer that a completion states, or None if it is empty."""
    return stated(text, phrases=True) or None


def says(answer: str, text: str) -> bool:
    """Check for the same words or the same number, in digits or as a word up to ten.

    Units must agree if both have one. Arithmetic, such as a date or a score, is words.
    """
    given, wanted = (digits(folded(each)) for each in (stated(text, phrases=True), answer))
    if given == wanted:
        return True
    ours, others = quantity(given), quantity(wanted)
    if ours is None or others is None:
        return False
    return float(ours.value) == float(others.value) and ours.same(others)
