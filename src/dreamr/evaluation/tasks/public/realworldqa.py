"""RealWorldQA, test: everyday scenes, many of them seen from cars (xAI, 2024; 765 rows).

Published protocol: xAI publishes none; evaluation harnesses compare the letter or the text. Each
question ends with a sentence that asks for the answer alone. It is removed, because the models are
supposed to reason. Scores are accuracies by rules similar to those of other harnesses, but with
another prompt.
"""

from __future__ import annotations

import re
from functools import partial

from dreamr.evaluation.tasks.item import Item
from dreamr.evaluation.tasks.public.answers import letter
from dreamr.evaluation.tasks.public.benchmark import Benchmark, Entry
from dreamr.evaluation.tasks.public.origin import Origin
from dreamr.evaluation.tasks.public.prompts import LETTER, WORDS, ask, image_of, text_of
from dreamr.evaluation.tasks.public.rows import Row
from dreamr.evaluation.tasks.public.table import said, says

NAME = "realworldqa"

_DIRECTLY = re.compile(r"\s*Please answer directly with [^.]*\.", re.IGNORECASE)
_CHOICE = re.compile(r"^\s*([A-Z])\.\s+(.*?)\s*$", re.MULTILINE)


def item(row: Row, entry: Entry) -> Item:
    """Create the item of a row of the hub's files."""
    question = _DIRECTLY.sub("", text_of(row["question"])).strip()
    answer = text_of(row["answer"])
    choices = dict(_CHOICE.findall(question))
    is_choice = answer.strip(".").upper() in choices
    return Item(
        task=NAME,
        index=entry.index,
        id=str(entry.index),
        kind="choice" if is_choice else "open",
        unit=entry.unit,
        conversation=ask(
            question,
            LETTER if is_choice else WORDS,
            [image_of(row["image"], f"{NAME} {entry.index}")],
        ),
        read=partial(letter, choices=choices) if is_choice else said,
        right=partial(_chooses, choices, answer) if is_choice else partial(says, answer),
    )


def _chooses(choices: dict[str, str], answer: str, text: str) -> bool:
    return letter(text, choices) == answer.strip(".").upper()


BENCHMARK = Benchmark(
    name=NAME,
    origin=Origin("xai-org/RealworldQA", "test", "data"),
    columns=("image", "question", "answer"),
    item=item,
)
