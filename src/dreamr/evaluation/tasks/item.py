"""What a bench runs: one problem of any task, drawn or published, behind one face."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, overload

from dreamr.conversation import Conversation
from dreamr.errors import DreamrError

Split: TypeAlias = Literal["train", "test"]
Check: TypeAlias = Callable[[int, str], bool | None]


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
