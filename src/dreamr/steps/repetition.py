"""Repetition: steps that repeat earlier ones, and texts that end in a loop."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from dreamr.steps.step import Ending, Step
from dreamr.steps.step_format import length
from dreamr.steps.thoughts import without_tags

# Tokens, counted by `length`, below which a step may be repeated: headings, brackets, short lines
# of code.
_SHORTEST = 8
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_PLACE = "\0"  # of a number; a character that texts of models do not have
_LARGEST_COUNTER = 9  # digits; Python refuses to convert very long numbers

_LONGEST_CYCLE = 16  # steps
_KEPT = 256  # steps
_WINDOW = 2000  # characters at the end of a text in which a loop is searched
_LOOP = 200  # characters that a loop has at least
_KEY = 50  # characters of the end; a loop contains them once more in each of its repetitions


@dataclass(frozen=True, slots=True)
class _Form:
    """What is compared of a step.

    Attributes:
        text: The text, as `_plain` returns it.
        shape: The text without its numbers.
        numbers: The numbers.
    """

    text: str
    shape: str
    numbers: tuple[str, ...]


@lru_cache(maxsize=4096)  # a prefix is read again for each lane
def _form(text: str) -> _Form | None:
    """Return what is compared of a step; None if it may be repeated."""
    if not _has_letters(text) or length(text) < _SHORTEST:
        return None
    text = _plain(text)
    return _Form(text, _NUMBER.sub(_PLACE, text), tuple(_NUMBER.findall(text)))


def _plain(text: str) -> str:
    """Return a text with single spaces between its words, without the tags of thoughts."""
    return " ".join(without_tags(text).split())


def _has_letters(text: str) -> bool:
    return any(character.isalpha() for character in text)


class StepHistory:
    """The steps of a text, to find the one that a further step repeats.

    A step repeats an earlier one if both have the same text, up to white space and tags. It also
    does if two earlier steps have the same text but for the numbers, unless the first number
    counts: it goes up, by no more than the number of steps since the last of them.

    Steps of fewer than 8 tokens and steps without letters, such as rows of a table, never repeat
    anything.
    """

    def __init__(self, steps: Iterable[str] = ()) -> None:
        """Begin with the texts of steps, in their order."""
        self._count = 0
        self._texts: dict[str, int] = {}  # number of the first step with a text
        self._shapes: dict[str, list[tuple[int, tuple[str, ...]]]] = {}  # with numbers
        for step in steps:
            self.add(step)

    def add(self, step: str) -> None:
        """Add a step."""
        self._count += 1
        if (form := _form(step)) is not None:
            self._texts.setdefault(form.text, self._count)
            self._shapes.setdefault(form.shape, []).append((self._count, form.numbers))

    def repeated(self, step: str) -> int | None:
        """Return the number, from 1, of the step that a further step repeats; None if it is new."""
        if (form := _form(step)) is None:
            return None
        if form.text in self._texts:
            return self._texts[form.text]
        alike = self._shapes.get(form.shape, [])
        if len(alike) < 2:
            return None
        number, numbers = alike[-1]
        between = self._count + 1 - number
        return None if _counts(numbers[0], form.numbers[0], between) else number


def _counts(before: str, after: str, steps: int) -> bool:
    """Return whether a number goes up, by at most the number of steps between both."""
    if max(len(before), len(after)) > _LARGEST_COUNTER:
        return False
    return before.isdecimal() and after.isdecimal() and 0 < int(after) - int(before) <= steps


class LoopSearch:
    """Follows a text, and finds out whether it ends in a loop.

    A loop is either a cycle of up to 16 whole steps with at least 8 tokens and a letter, or a
    passage that repeats until the very end of the text. Such a passage is searched in the last
    2,000 characters. All its repetitions together have at least 200; without letters, as in the
    rows of a grid, they fill the 2,000.
    """

    def __init__(self) -> None:
        self._steps: deque[str] = deque(maxlen=_KEPT)
        self._end = ""

    def add(self, step: Step) -> None:
        """Add a step, or a piece of one."""
        self._end = (self._end + step.text)[-_WINDOW:]
        if step.ending is Ending.CAP:  # not a whole step
            self._steps.clear()
        else:
            self._steps.append(_plain(step.text))

    def repeats(self, times: int) -> bool:
        """Check whether the text ends with the same cycle of steps this many times.

        A passage that is not made of whole steps counts once more: the last one is often cut.
        """
        return self._ends_in_cycle(times) or _ends_in_passage(self._end, times + 1)

    def _ends_in_cycle(self, times: int) -> bool:
        steps = list(self._steps)[-_LONGEST_CYCLE * times :]
        for size in range(1, min(_LONGEST_CYCLE, len(steps) // times) + 1):
            if steps[-1] == steps[-1 - size] and steps[-size:] * times == steps[-size * times :]:
                cycle = " ".join(steps[-size:])
                return _has_letters(cycle) and length(cycle) >= _SHORTEST
        return False


def _ends_in_passage(text: str, times: int) -> bool:
    """Check whether a text ends with this many repetitions of a passage."""
    if len(text) < _LOOP:
        return False
    key = text[-_KEY:]
    place = len(text) - len(key)
    while (place := text.rfind(key, 0, place + len(key) - 1)) >= 0:
        period = len(text) - len(key) - place
        if period * times > len(text):
            return False
        letters = _has_letters(text[-period:])
        least = max(_LOOP, period * times) if letters else _WINDOW
        if least <= len(text) and text[-least:-period] == text[period - least :]:
            return True
    return False
