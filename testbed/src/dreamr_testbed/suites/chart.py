"""Bar charts: sums and differences of two bars."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Self

from dreamr_testbed.suites.canvas import COLORS, PATCH, SIDE, Canvas
from dreamr_testbed.suites.problem import OneImage, ReferenceStep, look_for
from dreamr_testbed.suites.words import BARS, both, result, wanted

TALLEST = 8
UNIT = 12.0  # pixels per unit of a bar's height
FLOOR = SIDE - PATCH - 2  # lower end of the bars, in pixels from the top


@dataclass(frozen=True, slots=True)
class Chart(OneImage):
    """A bar chart and a question about two of its bars.

    Attributes:
        heights: Height of each bar, in units.
        scale: Value of one unit.
        ask: 'sum' or 'difference'.
        picked: Names of the two bars.
        hue: Color of the bars.
    """

    heights: tuple[int, ...]
    scale: int
    ask: str
    picked: tuple[str, str]
    hue: str

    @property
    def question(self) -> str:
        """Question about the two bars."""
        return f"One unit stands for {self.scale}. {wanted(self.ask, *self.picked, 'points')}"

    def _height(self, bar: str) -> int:
        return self.heights[BARS.index(bar)]

    @property
    def answer(self) -> str:
        """Sum or difference of the two values."""
        a, b = (self._height(bar) * self.scale for bar in self.picked)
        return str(a - b if self.ask == "difference" else a + b)

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: read both bars, then calculate."""
        a, b = (self._height(bar) * self.scale for bar in self.picked)
        sign, name = ("-", "Difference") if self.ask == "difference" else ("+", "Together")
        reads = []
        for bar in self.picked:
            height = self._height(bar)
            product = f"{height} x {self.scale} = {height * self.scale}"
            reads.append(
                ReferenceStep(
                    f"{bar}: {product}.",
                    f"In the chart the bar over {bar} is {height} high, and {product}.",
                )
            )
        return (
            look_for(both(*self.picked)),
            *reads,
            result(name, f"{a} {sign} {b} = {self.answer}"),
        )

    @property
    def transcript(self) -> str:
        """Names and heights of all bars."""
        return ", ".join(f"{b} {h}" for b, h in zip(BARS, self.heights, strict=False))

    def paint(self, canvas: Canvas) -> None:
        """Draw the bars over ruled lines."""
        for unit in range(TALLEST + 1):
            y = FLOOR - unit * UNIT
            canvas.line((2, y, SIDE - 4, y), light=unit % 2 == 1)
        for column, height in enumerate(self.heights):
            left = column * PATCH + canvas.rng.uniform(4, 6)
            top = FLOOR - height * UNIT
            canvas.label(column, 0, 1, 5, ("bar", str(height)))
            canvas.bar((left, top, left + canvas.rng.uniform(13, 16), FLOOR), self.hue)
            canvas.text(column, 5, 1, BARS[column])

    def misread(self, rng: Random) -> Self:
        """Return the same chart with a wrong height of one of the two bars."""
        heights = list(self.heights)
        at = BARS.index(rng.choice(self.picked))
        if rng.random() < 0.4:
            heights[at] = rng.choice(self.heights)
        else:
            heights[at] = min(TALLEST, max(1, heights[at] + rng.choice((-1, 1))))
        return replace(self, heights=tuple(heights))


def draw_chart(rng: Random, level: int) -> Chart:
    """Draw a random chart; higher levels have more bars and larger scales."""
    bars = rng.randint(3, 4) if level == 1 else 5
    scale = rng.randint(2, 3) if level == 1 else rng.randint(2, 6)
    ask = rng.choice(("sum", "difference"))
    while True:
        heights = tuple(rng.randint(1, TALLEST) for _ in range(bars))
        first, second = rng.sample(BARS[:bars], 2)
        scene = Chart(heights, scale, ask, (first, second), rng.choice(tuple(COLORS)))
        if int(scene.answer) > 0:
            return scene
