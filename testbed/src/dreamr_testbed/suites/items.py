"""Drawn problems as items of a task."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from dreamr.conversation import Conversation, read_image
from dreamr.evaluation.tasks import MARKER, Item, Items, Split, extract_answer
from dreamr_testbed.suites.draw import make_problem
from dreamr_testbed.suites.problem import Problem, is_correct

FIRST = 50_000  # test problems before this one are used while training, to choose checkpoints

ProblemCheck: TypeAlias = Callable[[Problem, int, str], bool | None]


def load_suite(suite: str, limit: int, seed: int, split: Split) -> Items:
    """Problems of a suite, each drawn when it is asked for: a loader of `dreamr.tasks`.

    Args:
        suite: one of `SUITES`.
        limit: how many.
        seed: how many problems behind number `FIRST` of the split to begin.
        split: whether to train on or to measure with.
    """
    first = FIRST + seed
    return Items(range(first, first + limit), partial(_draw, suite, split))


load_docmath = partial(load_suite, "docmath")
load_story = partial(load_suite, "story")
load_vqa = partial(load_suite, "vqa")


def _draw(suite: str, split: Split, index: int) -> Item:
    return item_of(make_problem(suite, split, index))


def reads_as_reference(problem: Problem, position: int, text: str) -> bool:
    """Whether the text is the reference's step, in either style, blanks and case aside.

    One place behind the last step stands the final answer; nothing may stand behind that.
    """
    if position < len(problem.steps):
        said = _bare(text)
        return any(said == _bare(step) for step in problem.steps[position].renderings)
    return position == len(problem.steps) and is_correct(problem, text)


def item_of(problem: Problem, check: ProblemCheck = reads_as_reference) -> Item:
    """A problem as an item; check: what it knows about steps."""
    return Item(
        task=problem.suite,
        index=problem.index,
        id=f"{problem.split}/{problem.index}",
        kind=problem.kind,
        unit=str(problem.index),
        conversation=Conversation.from_prompt(problem.question, read_image(problem.image)),
        read=_read,
        right=partial(_is_right, problem),
        check=partial(check, problem),
    )


def _read(text: str) -> str | None:
    """The answer, whether it comes with the reasoning before it or alone, without a marker."""
    return extract_answer(text) if MARKER in text else text.strip() or None


def _is_right(problem: Problem, text: str) -> bool:
    return is_correct(problem, text if MARKER in text else f"{MARKER} {text}")


def _bare(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().lower()
