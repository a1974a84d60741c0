"""Statements: money that is paid and received, with a balance carried from page to page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from random import Random
from typing import ClassVar, Self

from dreamr_testbed.suites.canvas import Canvas
from dreamr_testbed.suites.parts import Place, cut, located, plus
from dreamr_testbed.suites.problem import Medium, Paint, ReferenceStep, look_for
from dreamr_testbed.suites.words import GOODS, PEOPLE

LARGEST = 99  # of all balances


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a statement: money paid for a good, or received from a person."""

    name: str
    amount: int

    @property
    def sign(self) -> str:
        """'-' for a payment, '+' for money received."""
        return "-" if self.name in GOODS else "+"

    def after(self, balance: int) -> int:
        """Return the balance after this line."""
        return balance - self.amount if self.sign == "-" else balance + self.amount


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of several pages and a question about it.

    Attributes:
        parts: Lines of each page.
        start: Balance at the start, on the first page.
        ask: 'left': the balance at the end of a page, or 'paid': all payments for one good.
        page: Page in the question, from 1, for 'left'.
        good: Good in the question, for 'paid'.
    """

    parts: tuple[tuple[Entry, ...], ...]
    start: int
    ask: str
    page: int = 0
    good: str = ""

    medium: ClassVar[Medium] = "pages"

    @property
    def question(self) -> str:
        """Question about the balance or a good."""
        if self.ask == "left":
            return f"How much money is left at the end of page {self.page}?"
        return f"How much do they pay for {self.good} on all pages together?"

    @property
    def lines(self) -> list[tuple[Place, Entry]]:
        """Lines that the answer depends on, with their places."""
        pages = self.parts[: self.page] if self.ask == "left" else self.parts
        return list(located(pages, "page"))

    def balances(self) -> list[int]:
        """Return the balance at the start and after each line."""
        found = [self.start]
        for part in self.parts:
            for entry in part:
                found.append(entry.after(found[-1]))
        return found

    @property
    def answer(self) -> str:
        """Balance or sum of the payments."""
        if self.ask == "left":
            return str(self.balances()[len(self.lines)])
        return str(sum(entry.amount for _, entry in self.lines if entry.name == self.good))

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: one step per line, with the balance or the sum so far."""
        return self._left_steps() if self.ask == "left" else self._paid_steps()

    def _left_steps(self) -> tuple[ReferenceStep, ...]:
        steps = [
            ReferenceStep(
                f"Start: {self.start}.",
                f"At the start of page 1 I see that they have {self.start}.",
            )
        ]
        for (at, entry), before in zip(self.lines, self.balances(), strict=False):
            sum_ = f"{before} {entry.sign} {entry.amount} = {entry.after(before)}"
            wordy = f"I see {entry.name}, and that makes {sum_}"
            steps.append(at.step("line", f"{entry.name}, {sum_}", wordy))
        return tuple(steps)

    def _paid_steps(self) -> tuple[ReferenceStep, ...]:
        steps, total = [look_for(self.good)], 0
        for at, entry in self.lines:
            if entry.name != self.good:
                wordy = f"I see {entry.name} which I do not need"
                steps.append(at.step("line", f"{entry.name}, no", wordy))
                continue
            sum_ = plus(total, entry.amount)
            wordy = f"I see {entry.name} and it costs {entry.amount}, so the total is {sum_}"
            steps.append(at.step("line", f"{entry.name} {entry.amount}, total {sum_}", wordy))
            total += entry.amount
        end = f"So on all pages together they pay {total}."
        return (*steps, ReferenceStep(f"In all: {total}.", end))

    @property
    def transcript(self) -> str:
        """All lines as text."""
        pages = (
            "\n".join(f"{entry.name} {entry.sign} {entry.amount}" for entry in part)
            for part in self.parts
        )
        return "\n".join((f"Start {self.start}", *pages))

    @property
    def views(self) -> tuple[Paint, ...]:
        """One image per page."""
        return tuple(partial(self._paint, number) for number in range(len(self.parts)))

    def _paint(self, number: int, canvas: Canvas) -> None:
        if number:
            canvas.text(1, 0, 4, f"PAGE {number + 1}", name=False)
        else:
            canvas.text(0, 0, 4, "START", name=False)
            canvas.text(4, 0, 2, str(self.start))
        canvas.line((2, 24, 142, 24), light=True)
        for row, entry in enumerate(self.parts[number], 1):
            canvas.text(0, row, 3, entry.name)
            canvas.text(3, row, 1, entry.sign)
            canvas.text(4, row, 2, str(entry.amount))

    def misread(self, rng: Random) -> Self:
        """Return the same statement with one wrong amount or name, if it stays possible."""
        entries = [entry for part in self.parts for entry in part]
        at = rng.randrange(len(entries))
        old = entries[at]
        if self.ask == "paid" and rng.random() < 0.5:
            entries[at] = replace(old, name=rng.choice((self.good, *GOODS)))
        else:
            near = (old.amount - 1, old.amount + 1, rng.randint(1, 9))
            entries[at] = replace(old, amount=max(1, rng.choice(near)))
        scene = replace(self, parts=cut(entries, self.parts))
        return scene if min(scene.balances()) >= 0 else self


def _entries(rng: Random, start: int, count: int) -> list[Entry] | None:
    """Draw lines that keep the balance in range; None if a draw leads out of it."""
    balance, entries = start, list[Entry]()
    for _ in range(count):
        paid = rng.random() < 0.7
        name = rng.choice(GOODS if paid else PEOPLE)
        entry = Entry(name, rng.randint(1, 9) if rng.random() < 0.7 else rng.randint(10, 20))
        balance = entry.after(balance)
        if not 0 < balance <= LARGEST or (entries and entries[-1].name == name):
            return None
        entries.append(entry)
    return entries


def _never_repeat(parts: Sequence[Sequence[Entry]]) -> bool:
    """Check that no step says almost the same as two before it: a run takes that for a loop.

    From its third line on, a name must be on a later page than before.
    """
    pages: dict[str, list[int]] = {}
    for at, entry in located(parts):
        pages.setdefault(entry.name, []).append(at.image)
    return all(a < b for found in pages.values() for a, b in pairwise(found[1:]))


def _left(rng: Random, sizes: tuple[int, ...], pages: tuple[int, ...]) -> Statement:
    start = rng.randint(30, 80)
    while True:
        entries = _entries(rng, start, sum(sizes))
        if entries is None:
            continue
        parts = cut(entries, tuple("x" * size for size in sizes))
        if _never_repeat(parts):
            return Statement(parts, start, "left", page=rng.choice(pages))


def _paid(rng: Random, sizes: tuple[int, ...], times: int) -> Statement:
    """Draw a statement in which one good is paid for `times` times."""
    while True:
        good = rng.choice(GOODS)
        places = rng.sample(range(sum(sizes)), times)
        others = [name for name in (*GOODS, *PEOPLE) if name != good]
        entries = [
            Entry(good if at in places else rng.choice(others), rng.randint(1, 19))
            for at in range(sum(sizes))
        ]
        parts = cut(entries, tuple("x" * size for size in sizes))
        scene = Statement(parts, rng.randint(60, 99), "paid", good=good)
        if not _never_repeat(parts):
            continue
        if min(scene.balances()) >= 0 and max(scene.balances()) <= LARGEST:
            return scene


def draw_statement(rng: Random, level: int) -> Statement:
    """Draw a random statement of two or three pages."""
    sizes = tuple(
        rng.randint(*{1: (2, 2), 2: (2, 3), 3: (3, 3)}[level]) for _ in range(2 + level // 3)
    )
    if rng.random() < 0.5:
        return _left(rng, sizes, tuple(range(2, len(sizes) + 1)))
    return _paid(rng, sizes, rng.randint(2, len(sizes)))


def draw_long_statement(rng: Random, level: int) -> Statement:
    """Draw a random statement of two to four full pages."""
    sizes = tuple(rng.randint(4, 5) for _ in range(level + 1))
    if rng.random() < 0.6:
        return _left(rng, sizes, (len(sizes),))
    return _paid(rng, sizes, rng.randint(2, len(sizes) + 1))
