"""Hard level of docmath: receipts, tables and charts that take two to four images.

All lines are needed, so a solution has 8 to 20 steps. As at the other levels, no result has more
than two digits: the chain is what is long.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from random import Random
from typing import Self

from dreamr_testbed.suites.canvas import COLORS, Canvas
from dreamr_testbed.suites.chart import TALLEST, Chart
from dreamr_testbed.suites.docmath import Line, Receipt, Table
from dreamr_testbed.suites.parts import cut, located, most_so_far, plus, split_parts
from dreamr_testbed.suites.problem import Paint, ReferenceStep, SeveralImages, look_for
from dreamr_testbed.suites.words import BARS, DAYS, GOODS, PEOPLE, both, result

LARGEST = 99  # of all results


@dataclass(frozen=True, slots=True)
class LongReceipt(SeveralImages):
    """A receipt over several images, and a question about all of its lines.

    Attributes:
        parts: Lines of each image.
        ask: 'total', 'change' from 100, 'percent': the total with a discount, or 'most': the good
            that costs the most.
        rate: Discount in percent, for 'percent'.
    """

    parts: tuple[tuple[Line, ...], ...]
    ask: str
    rate: int = 0

    @property
    def question(self) -> str:
        """Question about all lines."""
        return {
            "total": "What is the total of all lines?",
            "change": "They buy all of this and pay with 100. How much is left?",
            "percent": f"What do they pay for all of this with {self.rate} percent off?",
            "most": "What is on the line that costs the most?",
        }[self.ask]

    @property
    def lines(self) -> tuple[Line, ...]:
        """Lines of all images."""
        return tuple(line for part in self.parts for line in part)

    @property
    def total(self) -> int:
        """Price of everything."""
        return sum(line.cost for line in self.lines)

    @property
    def answer(self) -> str:
        """Result of the calculation, or the name of the good."""
        if self.ask == "most":
            return max(self.lines, key=lambda line: line.cost).good
        off = self.total * self.rate // 100
        return str(100 - self.total if self.ask == "change" else self.total - off)

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: one step per line with the total or the most so far."""
        steps = [look_for(f"all {len(self.lines)} lines")]
        totals = accumulate((line.cost for line in self.lines), initial=0)
        most = most_so_far([(line.good, line.cost) for line in self.lines])
        for (at, line), before, (tail, said) in zip(
            located(self.parts), totals, most, strict=False
        ):
            terse = f"{line.good} {line.sum}"
            wordy = f"I see {line.good} and it costs {line.sum}"
            if self.ask != "most":
                sum_ = plus(before, line.cost)
                tail, said = f", total {sum_}", f", so the total is {sum_}"
            steps.append(at.step("line", f"{terse}{tail}", f"{wordy}{said}"))
        return (*steps, *self._end())

    def _end(self) -> tuple[ReferenceStep, ...]:
        if self.ask == "most":
            said = f"So the line that costs the most is the one with {self.answer}."
            return (ReferenceStep(f"Found: {self.answer}.", said),)
        if self.ask == "change":
            return (result("Left", f"100 - {self.total} = {self.answer}"),)
        if self.ask == "percent":
            off = self.total * self.rate // 100
            sum_ = f"{self.rate} percent of {self.total} = {off}"
            return (
                ReferenceStep(f"{sum_}.", f"They get something off, and {sum_}."),
                result("To pay", f"{self.total} - {off} = {self.answer}"),
            )
        return ()

    @property
    def transcript(self) -> str:
        """All lines as text."""
        return "\n".join(f"{line.good} {line.count} x {line.price}" for line in self.lines)

    @property
    def views(self) -> tuple[Paint, ...]:
        """One image per part."""
        return tuple(Receipt(part, self.ask, ()).paint for part in self.parts)

    def misread(self, rng: Random) -> Self:
        """Return the same receipt with two goods swapped, or a wrong count or price."""
        lines = list(self.lines)
        at, other = rng.sample(range(len(lines)), 2)
        if rng.random() < 0.3:
            one, two = lines[at], lines[other]
            lines[at], lines[other] = replace(one, good=two.good), replace(two, good=one.good)
        elif rng.random() < 0.5:
            lines[at] = replace(lines[at], count=rng.randint(1, 9))
        else:
            lines[at] = replace(lines[at], price=rng.randint(1, 9))
        return replace(self, parts=cut(tuple(lines), self.parts))


Row = tuple[str, int, int]  # name and points on both days


@dataclass(frozen=True, slots=True)
class LongTable(SeveralImages):
    """A table over several images, and a question about all of its rows.

    Attributes:
        parts: Rows of each image.
        days: Names of the columns.
        ask: 'column': points of all on one day, or 'most': who has the most on both days.
        day: Day in the question, for 'column'.
    """

    parts: tuple[tuple[Row, ...], ...]
    days: tuple[str, str]
    ask: str
    day: str = ""

    @property
    def question(self) -> str:
        """Question about all rows."""
        if self.ask == "most":
            return "Who has the most points on both days together?"
        return f"How many points do all of them have together on {self.day}?"

    @property
    def rows(self) -> tuple[Row, ...]:
        """Rows of all images."""
        return tuple(row for part in self.parts for row in part)

    @property
    def _column(self) -> list[int]:
        first = self.day == self.days[0]
        return [row[1] if first else row[2] for row in self.rows]

    @property
    def answer(self) -> str:
        """Sum of the column, or the name of the person."""
        if self.ask == "most":
            return max(self.rows, key=lambda row: row[1] + row[2])[0]
        return str(sum(self._column))

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: one step per row with the total or the most so far."""
        if self.ask == "most":
            return self._most_steps()
        column = f"{self.day} is {('first', 'second')[self.days.index(self.day)]}"
        steps = [
            look_for(f"all {len(self.rows)} rows on {self.day}"),
            ReferenceStep(f"Column: {column}.", f"Above the columns I see that {column}."),
        ]
        totals = accumulate(self._column, initial=0)
        for (at, (who, *_)), n, before in zip(
            located(self.parts), self._column, totals, strict=False
        ):
            sum_ = plus(before, n)
            wordy = f"I see {who} and there I read {n}, so the total is {sum_}"
            steps.append(at.step("row", f"{who} {n}, total {sum_}", wordy))
        return tuple(steps)

    def _most_steps(self) -> tuple[ReferenceStep, ...]:
        steps = [look_for(f"all {len(self.rows)} rows on {both(*self.days)}")]
        most = most_so_far([(who, a + b) for who, a, b in self.rows])
        for (at, (who, a, b)), (tail, said) in zip(located(self.parts), most, strict=True):
            sum_ = plus(a, b)
            wordy = f"I see {who} and that makes {sum_}{said}"
            steps.append(at.step("row", f"{who} {sum_}{tail}", wordy))
        said = f"So the one with the most points is {self.answer}."
        return (*steps, ReferenceStep(f"Found: {self.answer}.", said))

    @property
    def transcript(self) -> str:
        """Headings and rows as text."""
        return "\n".join((" ".join(self.days), *(f"{who} {a} {b}" for who, a, b in self.rows)))

    @property
    def views(self) -> tuple[Paint, ...]:
        """One image per part, each with the headings."""
        return tuple(
            Table(
                tuple(who for who, *_ in part), self.days, tuple((a, b) for _, a, b in part), "", ()
            ).paint
            for part in self.parts
        )

    def misread(self, rng: Random) -> Self:
        """Return the same table with two names swapped, or one wrong number."""
        rows = list(self.rows)
        at, swapped = rng.sample(range(len(rows)), 2)
        who, a, b = rows[at]
        if rng.random() < 0.3:
            rows[at], rows[swapped] = (rows[swapped][0], a, b), (who, *rows[swapped][1:])
            return replace(self, parts=cut(tuple(rows), self.parts))
        other = rng.choice((a - 1, a + 1, rng.randint(1, 9)))
        second = bool(self.day) and self.days.index(self.day) == 1
        rows[at] = (who, a, max(1, other)) if second else (who, max(1, other), b)
        return replace(self, parts=cut(tuple(rows), self.parts))


@dataclass(frozen=True, slots=True)
class LongChart(SeveralImages):
    """Two or three charts, and a question about all of their bars.

    Attributes:
        parts: Heights of the bars of each chart, in units.
        scale: Value of one unit.
        ask: 'total' of all bars, or 'difference' of two charts.
        hue: Color of the bars.
    """

    parts: tuple[tuple[int, ...], ...]
    scale: int
    ask: str
    hue: str

    @property
    def question(self) -> str:
        """Question about all bars."""
        unit = f"One unit stands for {self.scale}."
        if self.ask == "total":
            return f"{unit} How many points do all bars have together?"
        return f"{unit} How many more points does image 1 have than image 2?"

    @property
    def totals(self) -> tuple[int, ...]:
        """Value of all bars of each chart."""
        return tuple(self.scale * sum(part) for part in self.parts)

    @property
    def answer(self) -> str:
        """Sum or difference of the two charts."""
        if self.ask == "difference":
            return str(self.totals[0] - self.totals[1])
        return str(sum(self.totals))

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: one step per bar with the total so far."""
        steps = [look_for(f"all {sum(map(len, self.parts))} bars")]
        total = 0
        for number, part in enumerate(self.parts, 1):
            total = 0 if self.ask == "difference" else total
            for bar, height in zip(BARS, part, strict=False):
                value = height * self.scale
                product, sum_ = f"{height} x {self.scale} = {value}", plus(total, value)
                steps.append(
                    ReferenceStep(
                        f"Image {number}, {bar}: {product}, total {sum_}.",
                        f"In image {number} the bar over {bar} is {height} high, "
                        f"and {product}, so the total is {sum_}.",
                    )
                )
                total += value
        if self.ask == "difference":
            first, second = self.totals
            steps.append(result("Difference", f"{first} - {second} = {self.answer}"))
        return tuple(steps)

    @property
    def transcript(self) -> str:
        """Names and heights of all bars."""
        return "\n".join(
            ", ".join(f"{bar} {height}" for bar, height in zip(BARS, part, strict=False))
            for part in self.parts
        )

    @property
    def views(self) -> tuple[Paint, ...]:
        """One chart per part."""
        return tuple(partial(_paint_chart, part, self.hue) for part in self.parts)

    def misread(self, rng: Random) -> Self:
        """Return the same charts with one wrong height."""
        heights = [height for part in self.parts for height in part]
        at = rng.randrange(len(heights))
        heights[at] = min(TALLEST, max(1, heights[at] + rng.choice((-1, 1))))
        return replace(self, parts=cut(tuple(heights), self.parts))


def _paint_chart(heights: tuple[int, ...], hue: str, canvas: Canvas) -> None:
    Chart(heights, 1, "sum", (BARS[0], BARS[1]), hue).paint(canvas)


def _receipt(rng: Random, level: int) -> LongReceipt:
    ask = rng.choice(("total", "change", "percent", "most"))
    rate = rng.choice((10, 20, 50)) if ask == "percent" else 0
    count = rng.randint(*{1: (8, 10), 2: (10, 13), 3: (13, 16)}[level])
    most = 9 if ask == "most" else 6 - level
    while True:
        goods = rng.sample(GOODS, count)
        lines = tuple(Line(good, rng.randint(1, most), rng.randint(1, most)) for good in goods)
        scene = LongReceipt(split_parts(lines, rng), ask, rate)
        costs = sorted(line.cost for line in lines)
        fits = costs[-1] > costs[-2] if ask == "most" else scene.total <= LARGEST
        if fits and scene.total * rate % 100 == 0:
            return scene


def _table(rng: Random, level: int) -> LongTable:
    first, second = (DAYS[i] for i in sorted(rng.sample(range(len(DAYS)), 2)))
    ask = rng.choice(("column", "most"))
    people = rng.sample(PEOPLE, rng.randint(*{1: (8, 9), 2: (9, 11), 3: (11, 12)}[level]))
    largest = 49 if ask == "most" else 16 - 2 * level
    while True:
        rows = tuple((who, rng.randint(1, largest), rng.randint(1, largest)) for who in people)
        day = rng.choice((first, second)) if ask == "column" else ""
        scene = LongTable(split_parts(rows, rng), (first, second), ask, day)
        sums = sorted(a + b for _, a, b in rows)
        if sums[-1] > sums[-2] if ask == "most" else int(scene.answer) <= LARGEST:
            return scene


def _chart(rng: Random, level: int) -> LongChart:
    ask = rng.choice(("total", "difference")) if level < 3 else "total"
    scale = 2 if ask == "total" else rng.randint(2, 4)
    bars, charts, most = {1: (4, 2, TALLEST), 2: (5, 2, TALLEST), 3: (5, 3, 5)}[level]
    while True:
        parts = tuple(tuple(rng.randint(1, most) for _ in range(bars)) for _ in range(charts))
        scene = LongChart(parts, scale, ask, rng.choice(tuple(COLORS)))
        if ask == "total":
            fits = int(scene.answer) <= LARGEST
        else:
            fits = int(scene.answer) > 0 and max(scene.totals) <= LARGEST
        if fits:
            return scene


def generate(rng: Random, level: int) -> LongReceipt | LongTable | LongChart:
    """Draw a random document over several images; higher levels (1 to 3) are longer."""
    return rng.choice((_receipt, _table, _chart))(rng, level)
