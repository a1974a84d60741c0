"""Suite story: stories in two to four panels that cannot be solved without the text.

Three kinds: apples after gifts, the place of a hidden thing after cups are swapped, and the order
of runners. The text says who has which color; the panels show only colors. The reference
reasoning tracks the asked quantity from panel to panel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random
from typing import Self

from dreamr_testbed.suites.canvas import COLORS, PATCH, Canvas
from dreamr_testbed.suites.problem import OneImage, ReferenceStep, look_for
from dreamr_testbed.suites.words import PEOPLE

MOST = 4  # maximum number of apples in a panel
THINGS = ("ring", "key", "coin", "ball")
ORDINALS = ("first", "second", "third", "fourth")

Cast = tuple[tuple[str, str], ...]  # (name, color)


def _panel_origin(panel: int) -> tuple[int, int]:
    """Return left column and top row of a panel of 3 x 3 patches, in a grid of 2 x 2 panels."""
    return 3 * (panel % 2), 3 * (panel // 2)


def _frame(canvas: Canvas, panel: int) -> tuple[int, int]:
    left, top = _panel_origin(panel)
    x, y, end = left * PATCH + 2, top * PATCH + 2, 3 * PATCH - 4
    for line in ((x, y, x + end, y), (x, y + end, x + end, y + end),
                 (x, y, x, y + end), (x + end, y, x + end, y + end)):  # fmt: skip
        canvas.line(line, light=True)
    return left, top


def _figure(canvas: Canvas, column: int, row: int, color: str) -> None:
    """Draw a figure in one color over two patches: a circle as head, a triangle as coat."""
    x = (column + 0.5) * PATCH + canvas.rng.uniform(-2, 2)
    y = row * PATCH + canvas.rng.uniform(20, 26)
    canvas.shape(x, y + 6, 10, "triangle", color)
    canvas.shape(x, y - 8, 5.5, "circle", color)
    canvas.label(column, row, 1, 2, ("figure", color))


@dataclass(frozen=True, slots=True)
class Gifts(OneImage):
    """Number of apples that a person has after several gifts, one per panel.

    Attributes:
        cast: People and their colors.
        start: Number of apples of each person at the start.
        gifts: Color of the giver, color of the taker and number of apples, per panel.
        asked: Name of the person in the question.
    """

    cast: Cast
    start: tuple[int, ...]
    gifts: tuple[tuple[str, str, int], ...]
    asked: str

    @property
    def question(self) -> str:
        """Colors and apples at the start, and the question about one person."""
        people = zip(self.cast, self.start, strict=True)
        have = ", ".join(f"{name} is {color} and has {n}" for (name, color), n in people)
        return f"{have}. Each panel is a gift. How many apples does {self.asked} have at the end?"

    def _states(self) -> list[dict[str, int]]:
        """Return the apples of each color before the first panel and after each panel."""
        state = {c: n for (_, c), n in zip(self.cast, self.start, strict=True)}
        states = [dict(state)]
        for giver, taker, n in self.gifts:
            state[giver] -= n
            state[taker] += n
            states.append(dict(state))
        return states

    def _holdings(self) -> list[int]:
        """Return the apples of the asked person before the first panel and after each panel."""
        color = dict(self.cast)[self.asked]
        return [state[color] for state in self._states()]

    @property
    def answer(self) -> str:
        """Number of apples at the end."""
        return str(self._holdings()[-1])

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: the apples of the asked person, panel by panel."""
        holdings = self._holdings()
        own = dict(self.cast)[self.asked]
        begin = f"{self.asked} is {own}. So {own} has {holdings[0]}"
        steps = [ReferenceStep(f"Start: {begin}.", f"In this story {begin} at the start.")]
        moves = zip(self.gifts, holdings, holdings[1:], strict=False)
        for number, ((giver, taker, n), before, after) in enumerate(moves, 1):
            gift = f"{giver} gives {taker} {n}"
            verb, sign = ("gives", "-") if after < before else ("gets", "+")
            change = abs(after - before)
            own_part, sum_ = f"So {own} {verb} {change}", f"{before} {sign} {change} = {after}"
            steps.append(
                ReferenceStep(
                    f"Panel {number}: {gift}. {own_part}: {sum_}.",
                    f"In panel {number} I see that {gift}. {own_part}, and that makes {sum_}.",
                )
            )
        end = f"So at the very end the apples that {self.asked} has are {self.answer}."
        return (*steps, ReferenceStep(f"End: {self.answer}.", end))

    @property
    def transcript(self) -> str:
        """All gifts as text."""
        return "\n".join(f"{giver} gives {taker} {n}" for giver, taker, n in self.gifts)

    def paint(self, canvas: Canvas) -> None:
        """Draw giver, arrow, taker and apples in each panel."""
        for panel, (giver, taker, n) in enumerate(self.gifts):
            left, top = _frame(canvas, panel)
            _figure(canvas, left, top + 1, giver)
            _figure(canvas, left + 2, top + 1, taker)
            canvas.arrow((left + 1.5) * PATCH, (top + 2.3) * PATCH, 18)
            self._paint_apples(canvas, left, top, n)

    def _paint_apples(self, canvas: Canvas, left: int, top: int, n: int) -> None:
        gap = 15
        x = (left + 1.5) * PATCH - gap * (n - 1) / 2
        y = (top + 0.5) * PATCH + canvas.rng.uniform(-3, 5)
        for apple in range(n):
            canvas.shape(x + apple * gap, y + canvas.rng.uniform(-2, 2), 5, "circle", "red")
        canvas.label(left, top, 3, 1, ("gift", str(n)))

    def misread(self, rng: Random) -> Self:
        """Return the same story with one gift changed, or itself if the change is impossible."""
        gifts = list(self.gifts)
        at = rng.randrange(len(gifts))
        giver, taker, n = gifts[at]
        colors = [color for _, color in self.cast]
        kind = rng.randrange(3)
        if kind == 0:
            gifts[at] = (taker, giver, n)
        elif kind == 1:
            gifts[at] = (giver, taker, rng.randint(1, MOST))
        else:
            gifts[at] = (*rng.sample(colors, 2), n)  # type: ignore[assignment]
        scene = replace(self, gifts=tuple(gifts))
        fine = all(min(state.values()) >= 0 for state in scene._states())
        return scene if fine else self


@dataclass(frozen=True, slots=True)
class Cups(OneImage):
    """Place of a thing hidden under a cup after several swaps, one per panel.

    Attributes:
        cups: Colors of the cups.
        thing: Name of the thing.
        start: Color of the cup that hides the thing at the start.
        swaps: Colors of the two cups whose contents are swapped, per panel.
    """

    cups: tuple[str, ...]
    thing: str
    start: str
    swaps: tuple[tuple[str, str], ...]

    @property
    def question(self) -> str:
        """Place at the start, and the question about the end."""
        return (
            f"A {self.thing} is under the {self.start} cup. Each panel shows the cups whose "
            f"contents change places. Under which cup is the {self.thing} at the end?"
        )

    def _places(self) -> list[str]:
        at = [self.start]
        for one, other in self.swaps:
            at.append(other if at[-1] == one else one if at[-1] == other else at[-1])
        return at

    @property
    def answer(self) -> str:
        """Color of the cup that hides the thing at the end."""
        return self._places()[-1]

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: the place of the thing, panel by panel."""
        places = self._places()
        steps = [
            ReferenceStep(
                f"Start: the {self.thing} is under {self.start}.",
                f"At the start of the story we know that the {self.thing} is under {self.start}.",
            )
        ]
        moves = zip(self.swaps, places, places[1:], strict=False)
        for number, ((one, other), before, after) in enumerate(moves, 1):
            how = "stays under" if before == after else "goes to"
            steps.append(
                ReferenceStep(
                    f"Panel {number}: {one} and {other}. "
                    f"The {self.thing} was under {before}, it {how} {after}.",
                    f"In panel {number} I see that the cups are {one} and {other}. "
                    f"Before this the {self.thing} was under {before}, so now it {how} {after}.",
                )
            )
        end = ReferenceStep(
            f"End: {self.answer}.", f"So at the very end it is under the cup that is {self.answer}."
        )
        return (*steps, end)

    @property
    def transcript(self) -> str:
        """All swaps as text."""
        return "\n".join(f"{one} and {other}" for one, other in self.swaps)

    def paint(self, canvas: Canvas) -> None:
        """Draw the two swapped cups in each panel."""
        for panel, (one, other) in enumerate(self.swaps):
            left, top = _frame(canvas, panel)
            for column, color in ((left, one), (left + 2, other)):
                paint_cup(canvas, column, top + 1, color)
            canvas.arrow((left + 1.5) * PATCH, (top + 0.7) * PATCH, 40, both=True)

    def misread(self, rng: Random) -> Self:
        """Return the same story with one swap changed."""
        swaps = list(self.swaps)
        swaps[rng.randrange(len(swaps))] = tuple(rng.sample(self.cups, 2))  # type: ignore[assignment]
        return replace(self, swaps=tuple(swaps))


def paint_cup(canvas: Canvas, column: float, row: int, color: str, scale: float = 1.0) -> None:
    """Draw a cup over two rows of patches.

    Args:
        canvas: The canvas.
        column: Left end of its patch, in patches; a fraction for a cup between two columns.
        row: Upper row, in patches.
        color: Its color.
        scale: Size, relative to a cup in a panel.
    """
    x = (column + 0.5) * PATCH + canvas.rng.uniform(-2, 2)
    y = row * PATCH + canvas.rng.uniform(8, 14)
    canvas.bar((x - 9 * scale, y, x + 9 * scale, y + 24 * scale), color)
    canvas.bar((x - 11 * scale, y, x + 11 * scale, y + 4 * scale), color)
    first, last = int(column), math.ceil(column)
    canvas.label(first, row, last - first + 1, 2, ("cup", color))


@dataclass(frozen=True, slots=True)
class Race(OneImage):
    """Runner who reached a given place; each panel shows one runner and a place.

    Attributes:
        cast: Runners and their colors.
        places: Color and place of a runner, per panel.
        asked: Place in the question, from 1.
    """

    cast: Cast
    places: tuple[tuple[str, int], ...]
    asked: int

    @property
    def question(self) -> str:
        """Colors of the runners, and the question about one place."""
        runners = ", ".join(f"{color} {name}" for name, color in self.cast)
        return (
            f"The runners are {runners}. Each panel shows a runner and a place. "
            f"Who came in {ORDINALS[self.asked - 1]}?"
        )

    @property
    def answer(self) -> str:
        """Name of the runner."""
        names = {color: name for name, color in self.cast}
        return next((names[color] for color, n in self.places if n == self.asked), "nobody")

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: runner and place, panel by panel."""
        names = {color: name for name, color in self.cast}
        wanted = f"place {self.asked}"
        steps = [look_for(wanted)]
        for panel, (color, place) in enumerate(self.places, 1):
            verdict = "yes" if place == self.asked else "no"
            steps.append(
                ReferenceStep(
                    f"Panel {panel}: place {place}, {color} {names[color]}: {verdict}.",
                    f"In panel {panel} I see that place {place} goes to {color} {names[color]}. "
                    f"Is this the one I look for: {verdict}.",
                )
            )
        end = f"The runner with {wanted} is {self.answer}."
        return (*steps, ReferenceStep(f"Found: {self.answer}.", end))

    @property
    def transcript(self) -> str:
        """Colors and places as text."""
        return "\n".join(f"{color}, place {n}" for color, n in self.places)

    def paint(self, canvas: Canvas) -> None:
        """Draw a runner and a place in each panel."""
        for panel, (color, place) in enumerate(self.places):
            left, top = _frame(canvas, panel)
            _figure(canvas, left, top + 1, color)
            canvas.text(left + 2, top + 1, 1, str(place))

    def misread(self, rng: Random) -> Self:
        """Return the same story with two places swapped."""
        places = list(self.places)
        i, j = rng.sample(range(len(places)), 2)
        (one, first), (other, second) = places[i], places[j]
        if rng.random() < 0.5:
            places[i], places[j] = (one, second), (other, first)
        else:
            places[i], places[j] = (other, first), (one, second)
        return replace(self, places=tuple(places))


def draw_cast(rng: Random, count: int) -> Cast:
    """Draw names and colors of people."""
    colors = [c for c in COLORS if c != "black"]
    return tuple(zip(rng.sample(PEOPLE, count), rng.sample(colors, count), strict=True))


def _gifts(rng: Random, level: int) -> Gifts:
    cast = draw_cast(rng, 2 if level == 1 else 3)
    start = tuple(rng.randint(4, 9) for _ in cast)
    state = {color: n for (_, color), n in zip(cast, start, strict=True)}
    gifts: list[tuple[str, str, int]] = []
    for _ in range({1: 2, 2: rng.randint(2, 3), 3: rng.randint(3, 4)}[level]):
        giver = rng.choice([c for c in state if state[c] > 0])
        taker = rng.choice([c for c in state if c != giver])
        n = rng.randint(1, min(MOST, state[giver]))
        state[giver] -= n
        state[taker] += n
        gifts.append((giver, taker, n))
    busy = {color for giver, taker, _ in gifts for color in (giver, taker)}
    asked = rng.choice([name for name, color in cast if color in busy])
    return Gifts(cast, start, tuple(gifts), asked)


def _cups(rng: Random, level: int) -> Cups:
    cups = tuple(rng.sample(tuple(COLORS), 3 if level < 3 else 4))
    thing, start, end = rng.choice(THINGS), rng.choice(cups), rng.choice(cups)
    while True:  # all cups are equally likely answers, so the text alone does not help
        pairs = (rng.sample(cups, 2) for _ in range({1: 2, 2: 3, 3: 4}[level]))
        scene = Cups(cups, thing, start, tuple((one, other) for one, other in pairs))
        if scene.answer == end:
            return scene


def _race(rng: Random, level: int) -> Race:
    return draw_race(rng, 3 if level == 1 else 4)


def draw_race(rng: Random, count: int) -> Race:
    """Draw a race of `count` runners, one panel for each."""
    cast = draw_cast(rng, count)
    order = list(zip((c for _, c in cast), rng.sample(range(1, count + 1), count), strict=True))
    return Race(cast, tuple(rng.sample(order, count)), rng.randint(1, count))


def generate(rng: Random, level: int) -> Gifts | Cups | Race:
    """Draw a random story; higher levels (1 to 3) have more people and panels."""
    kind = rng.choice((_gifts, _gifts, _cups, _race))
    return kind(rng, level)
