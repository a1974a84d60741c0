"""Items: the problems of a task, in one form for drawn and published tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, overload

from dreamr.conversation import Conversation
from dreamr.errors import DreamrError
from dreamr.evaluation.tasks.places import NOWHERE, Places

Split: TypeAlias = Literal["train", "test"]
Check: TypeAlias = Callable[[int, str], bool | None]
StepPlaces: TypeAlias = Callable[[int, str], Places | None]


class TaskError(DreamrError):
    """Base class of all errors about tasks."""


class UnknownTask(TaskError):
    """The task does not exist."""


class NoData(TaskError):
    """The files of a published task are missing and cannot be fetched."""


class BadData(TaskError):
    """The files of a task, or the arguments of `load`, are not valid for the task."""


def cannot_tell(position: int, text: str) -> None:
    """Return None, as the checker of a task that cannot check steps."""


def of_the_answer(position: int, text: str) -> None:
    """Return None, as the step places of a task that only knows those of the answer."""


@dataclass(frozen=True, slots=True)
class Item:
    """One problem of a task.

    Attributes:
        task: Name that the task was loaded by.
        index: Number of the item, unique within the task.
        id: Identifier given by the publisher.
        kind: Subject or category, for tables.
        unit: Identifier of the problem in a score. Items with the same unit count as one problem,
            which is right if all of them are (circular evaluation).
        conversation: The prompt.
        read: Returns the answer that the scorer finds in a completion or in a final answer, or
            None.
        right: Returns whether that answer is right; a pure function of the text.
        check: Returns whether the step at a position (from 0, final answer included) is right,
            given that all steps before it are, or None if the task cannot tell.
        places: Where in the attachments the answer is found, if the task says so.
        step_places: Returns the places that the step at a position (from 0) is about, given that
            all steps before it are right, or None if only `places` are known.
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
    places: Places = NOWHERE
    step_places: StepPlaces = of_the_answer


class Items(Sequence[Item]):
    """A sequence of items that are created on access and not kept, since images take memory."""

    def __init__(
        self,
        numbers: Sequence[int],
        make: Callable[[int], Item],
        *,
        levels: Sequence[int] = (),
    ) -> None:
        """Create the sequence without creating any item.

        Args:
            numbers: `Item.index` of each item.
            make: Returns the item with an index.
            levels: Levels of difficulty of a task that only models trained on it can solve, as
                they name them in their folder. Empty for other tasks.
        """
        self.numbers = numbers
        self.levels = tuple(levels)
        self._make = make

    def of_task(self, name: str) -> Items:
        """Return the same items as those of a task of another name."""
        make = self._make
        return Items(self.numbers, lambda n: replace(make(n), task=name), levels=self.levels)

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> Items: ...

    def __getitem__(self, place: int | slice) -> Item | Items:
        if isinstance(place, slice):
            return Items(self.numbers[place], self._make, levels=self.levels)
        return self._make(self.numbers[place])


def by_unit(outcomes: Iterable[tuple[Item, bool]]) -> dict[tuple[str, str], bool]:
    """Return for each (task, unit) whether all its items are right."""
    units: dict[tuple[str, str], bool] = {}
    for item, right in outcomes:
        key = (item.task, item.unit)
        units[key] = units.get(key, True) and right
    return units
