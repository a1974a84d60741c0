"""Invoices: counts on the first pages, prices on the last, so each cost combines two pages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import ClassVar, Self

from dreamr_testbed.suites.canvas import Canvas
from dreamr_testbed.suites.parts import Place, cut, located, plus
from dreamr_testbed.suites.problem import Medium, Paint, ReferenceStep, look_for
from dreamr_testbed.suites.words import GOODS, both, result

LARGEST = 99  # of all results

Line = tuple[str, int]  # good, and its count or price


@dataclass(frozen=True, slots=True)
class Invoice:
    """An order and its price list on different pages, and a question about them.

    Attributes:
        orders: Goods and counts of each page of the order.
        prices: Goods and prices of each page of the price list.
        ask: 'one' good, 'sum' or 'difference' of two goods, or 'total' of all.
        picked: Goods in the question.
        rate: Discount in percent at the end of the last page; 0 for none.
    """

    orders: tuple[tuple[Line, ...], ...]
    prices: tuple[tuple[Line, ...], ...]
    ask: str
    picked: tuple[str, ...] = ()
    rate: int = 0

    medium: ClassVar[Medium] = "pages"

    @property
    def question(self) -> str:
        """Question about the picked goods or all of them."""
        off = " with the percent off on the last page" if self.rate else ""
        if self.ask == "total":
            return f"What do they pay for all of this{off}?"
        if self.ask == "one":
            return f"What do they pay for {self.picked[0]}{off}?"
        if self.ask == "sum":
            return f"What do they pay for {both(*self.picked)} together{off}?"
        return f"How much more do they pay for {' than for '.join(self.picked)}?"

    @property
    def counted(self) -> list[tuple[Place, Line]]:
        """Lines of the order with their places."""
        return list(located(self.orders, "page"))

    @property
    def priced(self) -> list[tuple[Place, Line]]:
        """Lines of the price list with their places."""
        first = len(self.orders)
        return [
            (replace(at, image=at.image + first), line) for at, line in located(self.prices, "page")
        ]

    def cost(self, good: str) -> int:
        """Return count times price of a good, 0 if it is on neither list."""
        count = next((n for _, (name, n) in self.counted if name == good), 0)
        return count * next((n for _, (name, n) in self.priced if name == good), 0)

    @property
    def _before(self) -> int:
        """Result before the discount."""
        if self.ask == "total":
            return sum(self.cost(good) for _, (good, _) in self.counted)
        costs = [self.cost(good) for good in self.picked]
        return costs[0] - costs[1] if self.ask == "difference" else sum(costs)

    @property
    def answer(self) -> str:
        """Result of the calculation."""
        return str(self._before - self._before * self.rate // 100)

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: counts and prices, then the calculation."""
        steps = self._total_steps() if self.ask == "total" else self._picked_steps()
        if not self.rate:
            return tuple(steps)
        off = self._before * self.rate // 100
        last = len(self.orders) + len(self.prices)
        sum_ = f"{self.rate} percent of {self._before} = {off}"
        return (
            *steps,
            ReferenceStep(f"Page {last}: {sum_}.", f"On page {last} they get off {sum_}."),
            result("To pay", f"{self._before} - {off} = {self.answer}"),
        )

    def _picked_steps(self) -> list[ReferenceStep]:
        steps, counts = [look_for(" and ".join(self.picked))], {}
        for at, (good, count) in self.counted:
            if good in self.picked:
                counts[good] = count
                wordy = f"I see {good} and there I read {count}"
                steps.append(at.step("line", f"{good} {count}", wordy))
            else:
                steps.append(_passed_over(at, good))
        costs = []
        for at, (good, price) in self.priced:
            if good in self.picked:
                cost = f"{counts.get(good, 0)} x {price} = {self.cost(good)}"
                costs.append(self.cost(good))
                steps.append(at.step("line", f"{good} {cost}", f"I see {good} and it costs {cost}"))
            else:
                steps.append(_passed_over(at, good))
        if self.ask == "one" and not self.rate:
            end = f"So for {self.picked[0]} they pay {self.answer}."
            steps.append(ReferenceStep(f"In all: {self.answer}.", end))
        if len(costs) == 2 and self.ask == "sum":
            steps.append(result("Together", f"{costs[0]} + {costs[1]} = {sum(costs)}"))
        if len(costs) == 2 and self.ask == "difference":
            steps.append(result("Difference", f"{max(costs)} - {min(costs)} = {self._before}"))
        return steps

    def _total_steps(self) -> list[ReferenceStep]:
        steps, total = [look_for(f"all {len(self.counted)} lines")], 0
        places = {good: (at, price) for at, (good, price) in self.priced}
        for at, (good, count) in self.counted:
            steps.append(
                at.step("line", f"{good} {count}", f"I see {good} and there I read {count}")
            )
            where, price = places[good]
            cost = count * price
            product, sum_ = f"{count} x {price} = {cost}", plus(total, cost)
            wordy = f"I see {good} and it costs {product}, so the total is {sum_}"
            steps.append(where.step("line", f"{good} {product}, total {sum_}", wordy))
            total += cost
        return steps

    @property
    def transcript(self) -> str:
        """All lines as text."""
        lines = [f"{good} {n}" for _, (good, n) in (*self.counted, *self.priced)]
        return "\n".join([*lines, f"OFF {self.rate}"] if self.rate else lines)

    @property
    def views(self) -> tuple[Paint, ...]:
        """One image per page."""
        return tuple(
            partial(self._paint, number) for number in range(len(self.orders) + len(self.prices))
        )

    def _paint(self, number: int, canvas: Canvas) -> None:
        pages = (*self.orders, *self.prices)
        ordered = number < len(self.orders)
        canvas.text(1, 0, 4, "ORDER" if ordered else "PRICES", name=False)
        canvas.line((2, 24, 142, 24), light=True)
        for row, (good, n) in enumerate(pages[number], 1):
            canvas.text(0, row, 3, good)
            canvas.text(4, row, 2, str(n))
        if self.rate and number == len(pages) - 1:
            canvas.text(0, 5, 3, "OFF", name=False)
            canvas.text(4, 5, 1, str(self.rate))
            canvas.text(5, 5, 1, "%", name=False)

    def misread(self, rng: Random) -> Self:
        """Return the same invoice with a wrong count or price."""
        ordered = rng.choice((True, False))
        pages = self.orders if ordered else self.prices
        lines = [line for part in pages for line in part]
        at = rng.randrange(len(lines))
        if self.picked and rng.random() < 0.7:
            at = next(i for i, (good, _) in enumerate(lines) if good in self.picked)
        good, n = lines[at]
        lines[at] = (good, max(1, rng.choice((n - 1, n + 1, rng.randint(1, 9)))))
        changed = cut(lines, pages)
        return replace(self, orders=changed) if ordered else replace(self, prices=changed)


def _passed_over(at: Place, good: str) -> ReferenceStep:
    return at.step("line", f"{good}, no", f"I see {good} which I do not need")


def _invoice(rng: Random, ask: str, sizes: tuple[int, ...], rate: int, most: int) -> Invoice:
    """Draw an invoice whose order and price list have pages of these sizes."""
    like = tuple("x" * size for size in sizes)
    while True:
        goods = rng.sample(GOODS, sum(sizes))
        counts = [(good, rng.randint(1, most)) for good in goods]
        prices = [(good, rng.randint(1, most)) for good in rng.sample(goods, len(goods))]
        picked = rng.sample(goods, {"one": 1, "total": 0}.get(ask, 2))
        scene = Invoice(cut(counts, like), cut(prices, like), ask, tuple(picked), rate)
        costs = [scene.cost(good) for good in picked]
        before = replace(scene, rate=0)
        fits = 0 < int(before.answer) <= LARGEST and int(before.answer) * rate % 100 == 0
        if fits and sum(costs) <= LARGEST:
            return scene


def draw_invoice(rng: Random, level: int) -> Invoice:
    """Draw a random invoice of two pages."""
    ask = rng.choice(
        {1: ("one",), 2: ("one", "sum", "difference"), 3: ("sum", "difference")}[level]
    )
    size = rng.randint(*{1: (2, 3), 2: (3, 4), 3: (4, 4)}[level])
    rate = rng.choice((10, 20, 50)) if level > 1 and ask in ("one", "sum") else 0
    rate = rate if rng.random() < 0.6 else 0
    return _invoice(rng, ask, (size,), rate, 9)


def draw_long_invoice(rng: Random, level: int) -> Invoice:
    """Draw a random invoice of two or four pages, about all of its goods."""
    sizes = {1: (4,), 2: (3, 4), 3: (4, 4)}[level]
    rate = rng.choice((10, 20, 50)) if rng.random() < 0.6 else 0
    return _invoice(rng, "total", sizes, rate, 6 - level + (level == 1))
