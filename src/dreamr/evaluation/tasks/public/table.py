"""Parquet files as custom tasks, with an image, a question and an answer in each row."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dreamr.evaluation.tasks.item import Item
from dreamr.evaluation.tasks.public.answers import digits, folded, stated
from dreamr.evaluation.tasks.public.benchmark import Benchmark, Entry
from dreamr.evaluation.tasks.public.origin import Origin
from dreamr.evaluation.tasks.public.prompts import WORDS, ask, image_of, text_of
from dreamr.evaluation.tasks.public.rows import Row
from dreamr.evaluation.tasks.public.values import number

ENDING = ".parquet"


def table(path: str) -> Benchmark:
    """Return the task of a file with the columns image, question and answer.

    The image may be null, but the column must exist. An answer is right if it has the same words or
    is the same number.
    """
    return Benchmark(
        name=path,
        origin=Origin(path, Path(path).stem),
        columns=("image", "question", "answer"),
        item=partial(_item, path),
    )


def _item(path: str, row: Row, entry: Entry) -> Item:
    where = f"row {entry.index}"
    images = [] if row["image"] is None else [image_of(row["image"], where)]
    return Item(
        task=path,
        index=entry.index,
        id=str(entry.index),
        kind=Path(path).stem,
        unit=entry.unit,
        conversation=ask(text_of(row["question"]), WORDS, images),
        read=said,
        right=partial(says, text_of(row["answer"])),
    )


def said(text: str) -> str | None:
    """Return the answer that a completion states, or None if it is empty."""
    return stated(text, phrases=True) or None


def says(answer: str, text: str) -> bool:
    """Check for the same words or the same number, in digits or as a word up to ten."""
    given, wanted = (digits(folded(each)) for each in (stated(text, phrases=True), answer))
    if given == wanted:
        return True
    value = number(given)
    return value is not None and value == number(wanted)
