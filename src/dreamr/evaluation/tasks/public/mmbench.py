"""MMBench, English, dev: perception and reasoning with four choices (arXiv 2307.06281).

Circular evaluation: a question is asked once for each of its choices, which are turned by one
place each time, and counts as right only where every time is (`unit`, and
`dreamr.evaluation.tasks.by_unit`). The hub's file holds the turned rows, numbered 10^6 apart.
Where a file has only the unturned ones, they are turned here.

Published protocol: rules find the letter; where they fail, a language model matches the completion
with the choices, and where that fails, a letter is drawn at random. Here rules are all there is
(a few more: "**A**", an "A" that cannot be an article), and no answer is wrong. Scores can be
compared with published ones only where a letter was found in all completions (`Item.read`);
otherwise they usually lie below.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from dreamr.evaluation.tasks.item import BadData, Item
from dreamr.evaluation.tasks.public.answers import letter
from dreamr.evaluation.tasks.public.benchmark import Benchmark, Entry
from dreamr.evaluation.tasks.public.origin import Origin
from dreamr.evaluation.tasks.public.prompt import LETTER, ask, choices_of, image_of, listed, text_of
from dreamr.evaluation.tasks.public.rows import Row, Rows

NAME = "mmbench"
LETTERS = "ABCD"
TURN = 10**6  # between the indices of a question's turned rows


def plan(rows: Rows) -> list[Entry]:
    """A unit for each question; turned rows are taken from the file, or made where it has none."""
    heads = rows.columns("index", *LETTERS)
    indices = [int(head["index"]) for head in heads]
    if any(index >= TURN for index in indices):
        return [Entry(i, row, str(i % TURN)) for row, i in enumerate(indices)]
    return [
        Entry(index + turn * TURN, row, str(index), turn)
        for row, (index, head) in enumerate(zip(indices, heads, strict=True))
        for turn in range(len(texts_of(head)))
    ]


def texts_of(row: Mapping[str, Any]) -> list[str]:
    """The choices that a row has."""
    texts = [text_of(row[name]) for name in LETTERS]
    return [text for text in texts if text]


def item(row: Row, entry: Entry) -> Item:
    """An item of a row of the hub's file, its choices turned as the entry says."""
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
