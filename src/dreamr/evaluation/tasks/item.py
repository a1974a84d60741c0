"""What a bench runs: one problem of any task, drawn or published, behind one face."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, overload

from dreamr.conversation import Conversation, read_image
from dreamr.errors import DreamrError
from dreamr.evaluation.tasks.problem import MARKER, Problem, extract_answer, is_correct

FIRST = 50_000  # test problems before this one are used while training, to choose checkpoints
LIMIT = 1_000  # how many problems of a drawn suite, which has no end, where nobody says

Check: TypeAlias = Callable[[int, str], bool | None]
ProblemCheck: TypeAlias = Callable[[Problem, int, str], bool | None]


class TaskError(DreamrError):
    """Base of all errors about a task."""


class UnknownTask(TaskError):
    """There is no task of that name."""


class NoData(TaskError):
    """The data of a published task is not here and cannot be fetched."""


class BadData(TaskError):
    """The data of a published task, or what was asked of it, is not what the task needs."""


def cannot_tell(position: int, text: str) -> None:
    """The checker of a task that knows answers only."""


@dataclass(frozen=True, slots=True)
class Item:
    """One problem that a bench can run.

    task: the name it was loaded by. index: its number in the task, which no other item has.
    id: what its publisher calls it. kind: subject, category or sort of problem, for tables.
    unit: what counts as one problem in a score; where several items share one, it is right when
    all of them are (circular evaluation).
    read: the answer as the scorer understands a completion, or the final answer alone; None where
    it finds none. right: whether that answer is right; a pure function of the text.
    check: whether step `position` (from 0, the final answer included) may read so, given that all
    steps before it are right; None where the task cannot tell.
    """

    task: str
    index: int
    id: str
    kind: str
    unit: str
    conversation: Conversation
    read: Callable[[str], str | None]
    right: Callable[[str], bool]
    check: Check = cannot_tell


class Items(Sequence[Item]):
    """Items that are made when they are asked for and not kept: pictures take memory."""

    def __init__(self, numbers: Sequence[int], make: Callable[[int], Item]) -> None:
        """Nothing is made yet.

        Args:
            numbers: the `index` of each item.
            make: the item of an index.
        """
        self.numbers = numbers
        self._make = make

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> Items: ...

    def __getitem__(self, place: int | slice) -> Item | Items:
        if isinstance(place, slice):
            return Items(self.numbers[place], self._make)
        return self._make(self.numbers[place])


def by_unit(outcomes: Iterable[tuple[Item, bool]]) -> dict[tuple[str, str], bool]:
    """What a score counts: for each task and unit whether all its items are right."""
    units: dict[tuple[str, str], bool] = {}
    for item, right in outcomes:
        key = (item.task, item.unit)
        units[key] = units.get(key, True) and right
    return units


def item_of(problem: Problem, check: ProblemCheck) -> Item:
    """A problem of a drawn suite, with the suite's checker of steps."""
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


def reads_as_reference(problem: Problem, position: int, text: str) -> bool:
    """Whether the text is the reference's step, in either style, blanks and case aside.

    One place behind the last step stands the final answer; nothing may stand behind that.
    """
    if position < len(problem.steps):
        said = _bare(text)
        return any(said == _bare(step) for step in problem.steps[position].renderings)
    return position == len(problem.steps) and is_correct(problem, text)


def _read(text: str) -> str | None:
    """The answer, whether it comes with the reasoning before it or alone, without a marker."""
    return extract_answer(text) if MARKER in text else text.strip() or None


def _is_right(problem: Problem, text: str) -> bool:
    return is_correct(problem, text if MARKER in text else f"{MARKER} {text}")


def _bare(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().lower()
