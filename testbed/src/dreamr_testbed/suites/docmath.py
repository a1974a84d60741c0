"""Suite docmath: arithmetic over documents (receipts, tables and bar charts).

The reference reasoning states what is needed and goes through the document line by line. Lines
that are not needed are skipped, the others are evaluated at once, so each step reads one place of
the image. All intermediate results have at most two digits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Self

from dreamr_testbed.suites.canvas import PATCH, SIDE, Canvas
from dreamr_testbed.suites.chart import Chart, draw_chart
from dreamr_testbed.suites.problem import OneImage, ReferenceStep, look_for
from dreamr_testbed.suites.words import DAYS, GOODS, PEOPLE, both, result, wanted


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a receipt: `count` items at `price` each."""

    good: str
    count: int
    price: int

    @property
    def cost(self) -> int:
        """Price of the whole line."""
        return self.count * self.price

    @property
    def sum(self) -> str:
        """Calculation of the cost as text."""
        return f"{self.count} x {self.price} = {self.cost}"


@dataclass(frozen=True, slots=True)
class Receipt(OneImage):
    """A receipt and a question about one, two or all of its lines.

    Attributes:
        lines: Lines of the receipt.
        ask: 'sum' or 'difference' of two lines, 'change' from 100 after buying two, 'total' of all
            lines, or 'percent': the price of one line with a discount.
        picked: Goods in the question.
        rate: Discount in percent, for 'percent'.
    """

    lines: tuple[Line, ...]
    ask: str
    picked: tuple[str, ...]
    rate: int = 0

    @property
    def question(self) -> str:
        """Question about the picked goods."""
        goods = both(*self.picked) if len(self.picked) == 2 else "".join(self.picked)
        return {
            "sum": f"What do {goods} cost together?",
            "difference": f"How much more do {'they pay for ' + ' than for '.join(self.picked)}?",
            "change": f"They buy {goods} and pay with 100. How much is left?",
            "total": "What is the total of the receipt?",
            "percent": f"What do they pay for {goods} with {self.rate} percent off?",
        }[self.ask]

    @property
    def _needed(self) -> tuple[Line, ...]:
        if self.ask == "total":
            return self.lines
        by_name = {line.good: line for line in self.lines}
        return tuple(by_name[good] for good in self.picked)

    @property
    def answer(self) -> str:
        """Result of the calculation."""
        costs = [line.cost for line in self._needed]
        results = {"difference": costs[0] - costs[-1], "change": 100 - sum(costs)}
        if self.ask == "percent":
            return str(costs[0] - costs[0] * self.rate // 100)
        return str(results.get(self.ask, sum(costs)))

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: one step per line, then the calculation."""
        if self.ask == "total":
            return self._total_steps()
        needed = self._needed
        reads = [
            ReferenceStep(
                f"Line {at}: {line.good} {line.sum}.",
                f"On line {at} I see {line.good} and it costs {line.sum}.",
            )
            if line in needed
            else _passed_over("Line", at, line.good)
            for at, line in enumerate(self.lines, 1)
        ]
        return (look_for(" and ".join(self.picked)), *reads, *self._results())

    def _results(self) -> tuple[ReferenceStep, ...]:
        costs = [line.cost for line in self.lines if line in self._needed]
        if self.ask == "percent":
            return self._percent_steps(costs[0])
        if self.ask == "difference":
            return (result("Difference", f"{max(costs)} - {min(costs)} = {self.answer}"),)
        together = result("Together", f"{costs[0]} + {costs[1]} = {sum(costs)}")
        if self.ask == "sum":
            return (together,)
        return (together, result("Left", f"100 - {sum(costs)} = {self.answer}"))

    def _percent_steps(self, cost: int) -> tuple[ReferenceStep, ...]:
        off = cost * self.rate // 100
        return (
            ReferenceStep(
                f"{self.rate} percent of {cost} = {off}.",
                f"They get something off, and {self.rate} percent of {cost} = {off}.",
            ),
            result("To pay", f"{cost} - {off} = {self.answer}"),
        )

    def _total_steps(self) -> tuple[ReferenceStep, ...]:
        steps, total = [look_for(f"all {len(self.lines)} lines")], 0
        for at, line in enumerate(self.lines, 1):
            add = f"{total} + {line.cost} = {total + line.cost}"
            steps.append(
                ReferenceStep(
                    f"Line {at}: {line.good} {line.sum}, total {add}.",
                    f"On line {at} I see {line.good} and it costs {line.sum}, "
                    f"so the total is {add}.",
                )
            )
            total += line.cost
        return tuple(steps)

    @property
    def transcript(self) -> str:
        """All lines as text."""
        return "\n".join(f"{ln.good} {ln.count} x {ln.price}" for ln in self.lines)

    def paint(self, canvas: Canvas) -> None:
        """Draw a heading and the lines."""
        top = canvas.rng.randint(0, 5 - len(self.lines))
        canvas.text(1, top, 4, canvas.rng.choice(("SHOP", "BILL", "STORE")), name=False)
        for row, line in enumerate(self.lines, start=top + 1):
            canvas.text(0, row, 3, line.good)
            canvas.text(3, row, 1, str(line.count))
            canvas.text(4, row, 1, "x")
            canvas.text(5, row, 1, str(line.price))

    def misread(self, rng: Random) -> Self:
        """Return the same receipt with two goods swapped, or a wrong count or price."""
        lines = list(self.lines)
        if rng.random() < 0.4:
            i, j = rng.sample(range(len(lines)), 2)
            lines[i], lines[j] = (
                replace(lines[j], good=lines[i].good),
                replace(lines[i], good=lines[j].good),
            )
        else:
            good = rng.choice(self.picked) if self.picked else rng.choice(lines).good
            at = next(i for i, line in enumerate(lines) if line.good == good)
            count, price = rng.choice(((rng.randint(1, 9), 0), (0, rng.randint(1, 9))))
            old = lines[at]
            lines[at] = Line(good, count or old.count, price or old.price)
        return replace(self, lines=tuple(lines))


def _passed_over(place: str, at: int, name: str) -> ReferenceStep:
    return ReferenceStep(
        f"{place} {at}: {name}, no.",
        f"On {place.lower()} {at} I see {name} which I do not need.",
    )


@dataclass(frozen=True, slots=True)
class Table(OneImage):
    """A table with points of several people on two days, and a question about it.

    Attributes:
        people: Names of the rows.
        days: Names of the columns.
        cells: Points on both days, for each person.
        ask: 'sum' or 'difference' of two people on one day, or 'row': one person on both days.
        picked: People in the question.
        day: Day in the question, except for 'row'.
    """

    people: tuple[str, ...]
    days: tuple[str, str]
    cells: tuple[tuple[int, int], ...]
    ask: str
    picked: tuple[str, ...]
    day: str = ""

    @property
    def question(self) -> str:
        """Question about the picked people."""
        if self.ask == "row":
            return f"How many points does {self.picked[0]} have on both days together?"
        first, second = self.picked
        return f"{wanted(self.ask, first, second, 'points')[:-1]} on {self.day}?"

    def wanted(self, row: int) -> tuple[int, ...]:
        """Return the numbers of a row that the answer depends on."""
        if self.people[row] not in self.picked:
            return ()
        return self.cells[row] if self.ask == "row" else (self.cells[row][self._column],)

    @property
    def _column(self) -> int:
        return self.days.index(self.day)

    @property
    def _numbers(self) -> tuple[int, int]:
        a, b = (n for row in range(len(self.people)) for n in self.wanted(row))
        return (max(a, b), min(a, b)) if self.ask == "difference" else (a, b)

    @property
    def answer(self) -> str:
        """Sum or difference of the two numbers."""
        if self.ask == "difference":
            first, second = (self.wanted(self.people.index(who))[0] for who in self.picked)
            return str(first - second)
        return str(sum(self._numbers))

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: find the column, read row by row, then calculate."""
        a, b = self._numbers
        sign, name = ("-", "Difference") if self.ask == "difference" else ("+", "Together")
        reads = []
        for row, who in enumerate(self.people):
            if numbers := self.wanted(row):
                what = both(*map(str, numbers)) if len(numbers) == 2 else str(numbers[0])
                reads.append(
                    ReferenceStep(
                        f"Row {row + 1}: {who} {what}.",
                        f"On row {row + 1} I see {who} and there I read {what}.",
                    )
                )
            else:
                reads.append(_passed_over("Row", row + 1, who))
        return (*self._headings(), *reads, result(name, f"{a} {sign} {b} = {self.answer}"))

    def _headings(self) -> tuple[ReferenceStep, ...]:
        if self.ask == "row":
            return (look_for(f"both days of {self.picked[0]}"),)
        column = f"{self.day} is {('first', 'second')[self._column]}"
        return (
            look_for(f"{both(*self.picked)} on {self.day}"),
            ReferenceStep(f"Column: {column}.", f"Above the columns I see that {column}."),
        )

    @property
    def transcript(self) -> str:
        """Headings and rows as text."""
        rows = zip(self.people, self.cells, strict=True)
        return "\n".join((" ".join(self.days), *(f"{who} {a} {b}" for who, (a, b) in rows)))

    def paint(self, canvas: Canvas) -> None:
        """Draw headings and ruled rows."""
        top = canvas.rng.randint(0, 5 - len(self.people))
        for column, day in enumerate(self.days):
            canvas.text(2 + 2 * column, top, 2, day)
        for row, (who, cells) in enumerate(zip(self.people, self.cells, strict=True), top + 1):
            canvas.line((2, row * PATCH, SIDE - 2, row * PATCH), light=canvas.rng.random() < 0.5)
            canvas.text(0, row, 2, who)
            for column, number in enumerate(cells):
                canvas.text(2 + 2 * column, row, 2, str(number))

    def misread(self, rng: Random) -> Self:
        """Return the same table with one wrong number."""
        cells = [list(row) for row in self.cells]
        at, column = rng.randrange(len(cells)), rng.randrange(2)
        if self.picked and rng.random() < 0.8:
            at = self.people.index(rng.choice(self.picked))
            column = self.days.index(self.day) if self.day else column
        if rng.random() < 0.5:
            other = rng.randrange(len(cells))
            cells[at][column] = self.cells[other][rng.randrange(2)]
        else:
            cells[at][column] = _near_number(cells[at][column], rng)
        return replace(self, cells=tuple((a, b) for a, b in cells))


def _near_number(number: int, rng: Random) -> int:
    """Return a number that differs in one digit."""
    tens, ones = divmod(number, 10)
    if rng.random() < 0.5 and number >= 10:
        return rng.randint(1, 4) * 10 + ones
    return max(1, tens * 10 + rng.randint(0, 9))


def _receipt(rng: Random, level: int) -> Receipt:
    count = rng.randint(3, 4) if level < 3 else rng.randint(4, 5)
    ask = rng.choice(("sum", "difference") if level == 1 else ("sum", "difference", "change",
                     "total", "percent"))  # fmt: skip
    rate = rng.choice((10, 20, 50)) if ask == "percent" else 0
    count = min(count, 4) if ask == "total" else count
    while True:
        goods = rng.sample(GOODS, count)
        lines = tuple(Line(good, rng.randint(1, 9), rng.randint(1, 9)) for good in goods)
        picks = {"total": 0, "percent": 1}.get(ask, 2)
        scene = Receipt(lines, ask, tuple(rng.sample(goods, picks)), rate)
        costs = [line.cost for line in scene._needed]
        whole = not rate or costs[0] * rate % 100 == 0
        if int(scene.answer) > 0 and sum(costs) < 100 and whole:
            return scene


def _table(rng: Random, level: int) -> Table:
    rows = rng.randint(2, 3) if level == 1 else rng.randint(3, 5)
    return draw_table(rng, rows, 19 if level == 1 else 49)


def draw_table(rng: Random, rows: int, largest: int) -> Table:
    """Draw a table of `rows` people with up to `largest` points, and a question about it."""
    people = tuple(rng.sample(PEOPLE, rows))
    days = sorted(rng.sample(range(len(DAYS)), 2))
    first, second = (DAYS[i] for i in days)
    ask = rng.choice(("sum", "difference", "row"))
    while True:
        cells = tuple((rng.randint(1, largest), rng.randint(1, largest)) for _ in people)
        picked = tuple(rng.sample(people, 1 if ask == "row" else 2))
        day = "" if ask == "row" else rng.choice((first, second))
        scene = Table(people, (first, second), cells, ask, picked, day)
        if int(scene.answer) > 0:
            return scene


def generate(rng: Random, level: int) -> Receipt | Table | Chart:
    """Draw a random document; higher levels (1 to 3) have more lines and larger numbers."""
    kind = rng.choice((_receipt, _table, draw_chart))
    return kind(rng, level)
