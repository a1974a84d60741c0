"""MathVerse, testmini: mathematics with diagrams (arXiv 2403.14624; 3,940 rows).

Each of 788 problems comes in five versions, which move information from the text into the image.
`kind` is the version, because the paper reports each version separately.

Published protocol: one language model call extracts the answer from the completion, and a second
one judges whether it means the same as the reference. Here, rules do both. They compare the letter
of the choice or the value, which must be equal as a number or as text. Paraphrases that the judge
would accept are wrong here, so scores are usually lower than published ones and cannot be compared
with a leaderboard. Methods that run on the same items can be compared with each other.
"""

from __future__ import annotations

import re
from functools import partial

from dreamr.evaluation.tasks.item import Item
from dreamr.evaluation.tasks.public.answers import letter, stated
from dreamr.evaluation.tasks.public.benchmark import Benchmark, Entry
from dreamr.evaluation.tasks.public.origin import Origin
from dreamr.evaluation.tasks.public.prompts import IN_IMAGE, LETTER, VALUE, ask, image_of, text_of
from dreamr.evaluation.tasks.public.rows import Row
from dreamr.evaluation.tasks.public.values import same_value

NAME = "mathverse"
LETTERS = "ABCDEFGH"

_CHOICE = re.compile(r"^\s*\(?([A-H])\)?\s*[:.]\s*(.*?)\s*$", re.MULTILINE)
_NO_IMAGE = "Text Only"  # this version has its own file on the hub


def item(row: Row, entry: Entry) -> Item:
    """Create the item of a row of the hub's files."""
    identity = text_of(row.get("sample_index")) or str(entry.row)
    version = text_of(row["problem_version"])
    is_choice = text_of(row["question_type"]) == "multi-choice"
    where = f"{NAME} {identity}"
    images = [] if version == _NO_IMAGE else [image_of(row["image"], where)]
    wanted = LETTER if is_choice else VALUE
    question = text_of(row["question"]) or IN_IMAGE  # the version "Vision Only" has no text
    answer = text_of(row["answer"])
    choices = choices_in(text_of(row.get("question_for_eval")) or question)
    return Item(
        task=NAME,
        index=entry.index,
        id=identity,
        kind=version,
        unit=entry.unit,
        conversation=ask(question, wanted, images),
        read=partial(letter, choices=choices) if is_choice else _value,
        right=partial(_chooses, choices, answer) if is_choice else partial(_gives, answer),
    )


def choices_in(question: str) -> dict[str, str]:
    """Return the choices at the end of a question by their letters.

    Without choices, the letters A to H with empty texts.
    """
    _, _, listing = question.rpartition("Choices:")
    found = dict(_CHOICE.findall(listing))
    return found or dict.fromkeys(LETTERS, "")


def _chooses(choices: dict[str, str], answer: str, text: str) -> bool:
    return letter(text, choices) == answer.strip(" ().:").upper()


def _value(text: str) -> str | None:
    return stated(text, phrases=True) or None


def _gives(answer: str, text: str) -> bool:
    return same_value(stated(text, phrases=True), answer)


BENCHMARK = Benchmark(
    name=NAME,
    origin=Origin("AI4Math/MathVerse", "testmini"),
    columns=("image", "question", "answer", "question_type", "problem_version"),
    item=item,
)
