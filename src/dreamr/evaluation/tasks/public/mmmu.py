"""MMMU, validation: college questions in 30 subjects with up to seven images (arXiv 2311.16502).

The dataset on the hub has one folder per subject; `kind` is the subject. Images are placed where
the question and the choices reference them (`<image 1>`).

Published protocol: rules alone, for letters and for open questions
(https://github.com/MMMU-Benchmark/MMMU, `eval_utils.py`). If they find no letter, one is drawn at
random, which is right in one of four cases. Here, such a completion has no answer (`Item.read`
returns None, so that it can be counted separately) and is wrong. On the other hand, more forms of a
letter are read ("A)", "A:", "**A**", "故选A", the text of a choice in a short answer; see
`dreamr.evaluation.tasks.public.answers`), and after a marker, only the text that follows it counts.
Both protocols agree on completions in the requested format,
so accuracies are comparable with published ones for prompts that ask for reasoning.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from dreamr.conversation import Image
from dreamr.evaluation.tasks.item import Item
from dreamr.evaluation.tasks.public.answers import letter, stated
from dreamr.evaluation.tasks.public.benchmark import Benchmark, Entry
from dreamr.evaluation.tasks.public.origin import Origin
from dreamr.evaluation.tasks.public.prompts import (
    LETTER,
    WORDS,
    ask_interleaved,
    choices_of,
    image_of,
    listed,
    string_list,
    text_of,
)
from dreamr.evaluation.tasks.public.rows import Row

NAME = "mmmu"
IMAGES = range(1, 8)

_NUMBER = re.compile(r"-?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?")
_WORDS_BEFORE = ("could be", "so", "is", "thus", "therefore", "final", "answer", "result")
_LEADS = (*(f"{words} " for words in _WORDS_BEFORE), "=")


def item(row: Row, entry: Entry) -> Item:
    """Create the item of a row of the hub's files."""
    identity = text_of(row["id"])
    where = f"{NAME} {identity}"
    is_choice = text_of(row["question_type"]) == "multiple-choice"
    choices = choices_of(string_list(row["options"], where)) if is_choice else {}
    text = "\n".join(filter(None, (text_of(row["question"]), listed(choices))))
    answers = _answers(row["answer"], where)
    return Item(
        task=NAME,
        index=entry.index,
        id=identity,
        kind=subject(identity),
        unit=entry.unit,
        conversation=ask_interleaved(text, LETTER if is_choice else WORDS, _images(row, where)),
        read=partial(letter, choices=choices, last=True) if is_choice else _said,
        right=partial(_chooses, choices, answers) if is_choice else partial(_says, answers),
    )


def subject(identity: str) -> str:
    """Return the subject in an id such as `validation_Art_Theory_12`."""
    return "_".join(identity.split("_")[1:-1]) or identity


def _images(row: Row, where: str) -> dict[int, Image]:
    values = {number: row.get(f"image_{number}") for number in IMAGES}
    return {n: image_of(value, where) for n, value in values.items() if value is not None}


def _answers(value: Any, where: str) -> list[str]:
    """Return one answer, or all accepted answers if the value is a list in Python notation."""
    text = text_of(value)
    return string_list(text, where) if text.startswith("[") and text.endswith("]") else [text]


def _chooses(choices: dict[str, str], answers: list[str], text: str) -> bool:
    return letter(text, choices, last=True) in answers


def _said(text: str) -> str | None:
    return stated(text) or None


def _says(answers: list[str], text: str) -> bool:
    """Check an answer by the published rule: equal to two decimals, or contained in the text."""
    said = list(_pieces(stated(text).lower().strip(" .")))
    numbers = {value for piece in said for value in _numbers(piece)}
    return any(
        _number(answer) in numbers if _number(answer) is not None else _within(answer, said)
        for answer in answers
    )


def _pieces(said: str) -> Iterator[str]:
    """Yield the text after the last phrase that introduces an answer, or the whole text."""
    tails = [said.split(lead)[-1].strip() for lead in _LEADS if lead in said]
    yield min((tail for tail in tails if tail), key=len, default=said)


def _within(answer: str, said: list[str]) -> bool:
    words = answer.strip().lower()
    # Most texts contain any single letter, so it must be isolated.
    shape = rf"(?<!\w){re.escape(words)}(?!\w)" if len(words) == 1 else re.escape(words)
    return bool(words) and any(re.search(shape, piece) for piece in said)


def _numbers(text: str) -> Iterator[float]:
    for found in _NUMBER.finditer(text):
        value = _number(found[0])
        if value is not None:
            yield value


def _number(text: str) -> float | None:
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    return round(value, 2) if math.isfinite(value) else None


BENCHMARK = Benchmark(
    name=NAME,
    origin=Origin("MMMU/MMMU", "validation", "*"),
    columns=("id", "question", "options", "answer", "question_type", "image_1"),
    item=item,
)
