"""Conversion of drawn problems to items of a task."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from dreamr.conversation import Conversation, read_image
from dreamr.evaluation.tasks import MARKER, Item, Items, Split, extract_answer
from dreamr_testbed.suites.draw import make_problem
from dreamr_testbed.suites.problem import Problem, is_correct

FIRST = 50_000  # the test problems before this index are used to evaluate checkpoints in training

ProblemCheck: TypeAlias = Callable[[Problem, int, str], bool | None]


def load_suite(suite: str, limit: int, seed: int, split: Split) -> Items:
    """Load problems of a suite, each drawn on access; a loader for entry points `dreamr.tasks`.

    Args:
        suite: One of `SUITES` or `EXTRA_SUITES`.
        limit: Number of problems.
        seed: Offset of the first problem from index `FIRST`.
        split: 'train' or 'test'.
    """
    first = FIRST + seed
    return Items(range(first, first + limit), partial(_draw, suite, split))


load_docmath = partial(load_suite, "docmath")
load_gap = partial(load_suite, "gap")
load_story = partial(load_suite, "story")
load_vqa = partial(load_suite, "vqa")


def _draw(suite: str, split: Split, index: int) -> Item:
    return item_of(make_problem(suite, split, index))


def reads_as_reference(problem: Problem, position: int, text: str) -> bool:
    """Check whether a step matches the reference in one of its styles.

    Whitespace and case are ignored. The position after the last step is the final answer; any
    later step is wrong.

    Args:
        problem: The problem.
        position: Position of the step, from 0.
        text: Text of the step.
    """
    if position < len(problem.steps):
        said = _bare(text)
        return any(said == _bare(step) for step in problem.steps[position].renderings)
    return position == len(problem.steps) and is_correct(problem, text)


def item_of(problem: Problem, check: ProblemCheck = reads_as_reference) -> Item:
    """Convert a problem to an item of a task.

    Args:
        problem: The problem.
        check: Function that tells whether a step is right, or None if it cannot tell.
    """
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
    """Extract the answer from a whole solution, or from an answer alone without a marker."""
    return extract_answer(text) if MARKER in text else text.strip() or None


def _is_right(problem: Problem, text: str) -> bool:
    return is_correct(problem, text if MARKER in text else f"{MARKER} {text}")


def _bare(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().lower()
