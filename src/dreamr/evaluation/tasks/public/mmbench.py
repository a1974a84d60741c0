"""MMBench, English, dev: perception and reasoning with up to four choices (arXiv 2307.06281).

Circular evaluation: each question is asked once per choice, with the choices rotated by one place
each time. It is right only if all rotations are (`unit` and `dreamr.evaluation.tasks.by_unit`).
The hub's file contains the rotated rows, with indices 10^6 apart. If a file has only the original
rows, they are rotated here.

Published protocol: rules find the letter. If they fail, a language model matches the completion
with the choices, and if that fails, a letter is drawn at random. Here, only rules are used (with a
few more, see `dreamr.evaluation.tasks.public.answers`), and a completion without a letter is wrong.
Scores are comparable with published ones only if a letter was found in all completions
(`Item.read`). Otherwise they are usually lower.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from dreamr.evaluation.tasks.item import BadData, Item
from dreamr.evaluation.tasks.public.answers import letter
from dreamr.evaluation.tasks.public.benchmark import Benchmark, Entry
from dreamr.evaluation.tasks.public.origin import Origin
from dreamr.evaluation.tasks.public.prompts import (
    LETTER,
    ask,
    choices_of,
    image_of,
    listed,
    text_of,
)
from dreamr.evaluation.tasks.public.rows import Row, Rows

NAME = "mmbench"
LETTERS = "ABCD"
TURN = 10**6  # distance between the indices of a question's rotated rows


def plan(rows: Rows) -> list[Entry]:
    """Return the entries, with one unit per question; rotate the rows if the file has not."""
    heads = rows.columns("index", *LETTERS)
    indices = [_index(rows, row, head["index"]) for row, head in enumerate(heads)]
    if any(index >= TURN for index in indices):
        return [Entry(i, row, str(i % TURN)) for row, i in enumerate(indices)]
    return [
        Entry(index + turn * TURN, row, str(index), turn)
        for row, (index, head) in enumerate(zip(indices, heads, strict=True))
        for turn in range(len(texts_of(head)))
    ]


def _index(rows: Rows, row: int, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise BadData(
            f"{rows.path_of(row)}: row {row}: the index must be a whole number, not {value!r}"
        ) from error


def texts_of(row: Mapping[str, Any]) -> list[str]:
    """Return the choices that a row has."""
    texts = [text_of(row[name]) for name in LETTERS]
    return [text for text in texts if text]


def item(row: Row, entry: Entry) -> Item:
    """Create the item of a row, with its choices rotated as the entry says.

    Raises:
        BadData: If the answer is not one of the choices, or the image cannot be decoded.
    """
    where = f"{NAME} {entry.index}"
    texts = texts_of(row)
    answer = text_of(row["answer"])
    if len(answer) != 1 or answer not in choices_of(texts):
        raise BadData(f"{where} has no answer among its choices: use the split dev")
    choices = choices_of([*texts[entry.turn :], *texts[: entry.turn]])
    right = chr(ord("A") + (ord(answer) - ord("A") - entry.turn) % len(texts))
    question = "\n".join(filter(None, (text_of(row.get("hint")), text_of(row["question"]))))
    return Item(
        task=NAME,
        index=entry.index,
        id=str(entry.index),
        kind=text_of(row["category"]),
        unit=entry.unit,
        conversation=ask(f"{question}\n{listed(choices)}", LETTER, [image_of(row["image"], where)]),
        read=partial(letter, choices=choices),
        right=partial(_chooses, choices, right),
    )


def _chooses(choices: dict[str, str], right: str, text: str) -> bool:
    return letter(text, choices) == right


BENCHMARK = Benchmark(
    name=NAME,
    origin=Origin("lmms-lab/MMBench", "dev", "en"),
    columns=("index", "question", *LETTERS, "answer", "category", "image"),
    item=item,
    plan=plan,
)
