"""Conversion of drawn problems to items of a task."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import TypeAlias

from dreamr.evaluation.tasks import MARKER, Item, Items, Split, extract_answer
from dreamr_testbed.suites.draw import LEVELS, make_problem
from dreamr_testbed.suites.media import conversation_of, places_of, step_places
from dreamr_testbed.suites.problem import Problem, is_correct

FIRST = 50_000  # the test problems before this index are used to evaluate checkpoints in training

ProblemCheck: TypeAlias = Callable[[Problem, int, str], bool | None]


def load_suite(
    suite: str, limit: int, seed: int, split: Split, levels: Sequence[int] = LEVELS
) -> Items:
    """Load problems of a suite, each drawn on access; a loader for entry points `dreamr.tasks`.

    Args:
        suite: One of `SUITES` or `EXTRA_SUITES`.
        limit: Number of problems.
        seed: Offset of the first problem from index `FIRST`.
        split: 'train' or 'test'.
        levels: Levels of the problems, all equally likely.
    """
    first = FIRST + seed
    make = partial(_draw, suite, split, levels)
    return Items(range(first, first + limit), make, levels=levels)


load_clip = partial(load_suite, "clip")
load_clip_hard = partial(load_suite, "clip-hard")
load_docmath = partial(load_suite, "docmath")
load_docmath_hard = partial(load_suite, "docmath-hard")
load_gap = partial(load_suite, "gap")
load_pages = partial(load_suite, "pages")
load_pages_hard = partial(load_suite, "pages-hard")
load_spoken = partial(load_suite, "spoken")
load_story = partial(load_suite, "story")
load_story_hard = partial(load_suite, "story-hard")
load_vqa = partial(load_suite, "vqa")
load_vqa_hard = partial(load_suite, "vqa-hard")


def _draw(suite: str, split: Split, levels: Sequence[int], index: int) -> Item:
    if tuple(levels) == LEVELS:
        return item_of(make_problem(suite, split, index))
    level = Random(f"levels/{suite}/{split}/{index}").choice(levels)
    return item_of(make_problem(suite, split, index, level))


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
        conversation=conversation_of(problem),
        read=_read,
        right=partial(_is_right, problem),
        check=partial(check, problem),
        places=places_of(problem),
        step_places=partial(step_places, problem),
    )


def _read(text: str) -> str | None:
    """Extract the answer from a whole solution, or from an answer alone without a marker."""
    return (extract_answer(text) if MARKER in text else text.strip()) or None


def _is_right(problem: Problem, text: str) -> bool:
    return is_correct(problem, text if MARKER in text else f"{MARKER} {text}")


def _bare(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().lower()
