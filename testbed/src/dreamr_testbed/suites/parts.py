"""Lines of documents that take several images: where they are, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import TypeVar

from dreamr_testbed.suites.problem import ReferenceStep

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Place:
    """Place of a line: number of its image or page and number of the line there, from 1."""

    image: int
    line: int
    name: str = "image"

    def step(self, what: str, terse: str, wordy: str) -> ReferenceStep:
        """Return the step that reads the line.

        Args:
            what: 'line', 'row' or 'panel'.
            terse: What is read, as short as possible.
            wordy: The same with more words, for the end of a sentence.
        """
        return ReferenceStep(
            f"{self.name.capitalize()} {self.image}, {what} {self.line}: {terse}.",
            f"On {self.name} {self.image}, {what} {self.line}, {wordy}.",
        )


def located(parts: Sequence[Sequence[Row]], name: str = "image") -> Iterator[tuple[Place, Row]]:
    """Yield all lines with their places, in order."""
    for image, part in enumerate(parts, 1):
        for line, row in enumerate(part, 1):
            yield Place(image, line, name), row


def split_parts(rows: Sequence[Row], rng: Random, most: int = 5) -> tuple[tuple[Row, ...], ...]:
    """Split rows at random into as few parts as possible, of at least two rows each.

    Args:
        rows: The rows, more than `most`.
        rng: Source of randomness.
        most: Most rows of a part.
    """
    count = -(-len(rows) // most)
    while True:
        ends = sorted(rng.sample(range(2, len(rows) - 1), count - 1))
        spans = list(pairwise((0, *ends, len(rows))))
        if all(2 <= end - start <= most for start, end in spans):
            return tuple(tuple(rows[start:end]) for start, end in spans)


def cut(rows: Sequence[Row], like: Sequence[Sequence[object]]) -> tuple[tuple[Row, ...], ...]:
    """Split rows into parts of the same sizes as other parts."""
    found, start = [], 0
    for part in like:
        found.append(tuple(rows[start : start + len(part)]))
        start += len(part)
    return tuple(found)


def plus(total: int, more: int) -> str:
    """Return a sum with its result as text; True counts as 1."""
    return f"{total} + {int(more)} = {total + more}"


def best_so_far(values: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return for each value the largest one up to it; of equal ones, the first."""
    best: list[tuple[str, int]] = []
    for value in values:
        best.append(value if not best or value[1] > best[-1][1] else best[-1])
    return best


def compared(value: int, before: int | None, word: str = "more") -> tuple[str, str]:
    """Return the comparison of a value with the best before it, terse and wordy.

    Args:
        value: The value.
        before: The best before it; both texts are empty without one.
        word: 'more' where the largest value is the best, 'less' where the smallest is.
    """
    if before is None:
        return "", ""
    better = value > before if word == "more" else value < before
    said = f"{word} than {before}" if better else f"not {word} than {before}"
    return f", {said}", f", that is {said}"


def most_so_far(values: Sequence[tuple[str, int]]) -> list[tuple[str, str]]:
    """Return for each value the end of its step, terse and wordy: a comparison and the most."""
    ends: list[tuple[str, str]] = []
    before: int | None = None
    for (_, value), (name, most) in zip(values, best_so_far(values), strict=True):
        terse, wordy = compared(value, before)
        ends.append((f"{terse}, most: {name} {most}", f"{wordy}, so the most is {name} {most}"))
        before = most
    return ends
