"""Hard level of story: stories of 8 to 16 panels in two to four images.

Gifts and cups are those of the suite story; a league of several races replaces the race. Panels are
counted through all images: panel 5 is the first of the second image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Self

from dreamr_testbed.suites.canvas import COLORS
from dreamr_testbed.suites.parts import plus
from dreamr_testbed.suites.problem import Paint, ReferenceStep, SeveralImages
from dreamr_testbed.suites.story import MOST, THINGS, Cast, Cups, Gifts, Race, draw_cast

PANELS = 4  # of an image
LARGEST = 19  # number of apples of a person


@dataclass(frozen=True, slots=True)
class LongGifts(Gifts):
    """Number of apples that a person has after many gifts."""

    @property
    def views(self) -> tuple[Paint, ...]:
        """One image for each four panels."""
        parts = range(0, len(self.gifts), PANELS)
        return tuple(replace(self, gifts=self.gifts[at : at + PANELS]).paint for at in parts)


@dataclass(frozen=True, slots=True)
class LongCups(Cups):
    """Place of a thing hidden under a cup after many swaps."""

    @property
    def views(self) -> tuple[Paint, ...]:
        """One image for each four panels."""
        parts = range(0, len(self.swaps), PANELS)
        return tuple(replace(self, swaps=self.swaps[at : at + PANELS]).paint for at in parts)


@dataclass(frozen=True, slots=True)
class League(SeveralImages):
    """Points of a runner in several races, one per image; four panels show runners and places.

    Attributes:
        cast: Runners and their colors.
        races: Color and place of each runner, per race.
        asked: Name of the runner in the question.
    """

    cast: Cast
    races: tuple[tuple[tuple[str, int], ...], ...]
    asked: str

    @property
    def question(self) -> str:
        """Colors of the runners, and the question about one of them."""
        runners = ", ".join(f"{name} is {color}" for name, color in self.cast)
        return (
            f"{runners}. Each image is one race, and each panel shows a runner and "
            f"a place. The first gets 4 points, the second 3, the third 2 and the fourth 1. "
            f"How many points does {self.asked} have in all?"
        )

    @property
    def answer(self) -> str:
        """Sum of the points."""
        own = dict(self.cast)[self.asked]
        return str(sum(5 - place for race in self.races for color, place in race if color == own))

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: runner and place, panel by panel, with the points so far."""
        own, total = dict(self.cast)[self.asked], 0
        who = f"{self.asked} is {own}"
        steps = [ReferenceStep(f"Start: {who}.", f"In this story {who}.")]
        panels = [panel for race in self.races for panel in race]
        for number, (color, place) in enumerate(panels, 1):
            terse, end = f"place {place}, {color}: no", "Is this the one I look for: no"
            if color == own:
                points, sum_ = f"5 - {place} = {5 - place}", plus(total, 5 - place)
                terse = f"place {place}, {color}: {points}, total {sum_}"
                end = f"So that makes {points}, and the total is {sum_}"
                total += 5 - place
            steps.append(
                ReferenceStep(
                    f"Panel {number}: {terse}.",
                    f"In panel {number} I see that {color} has place {place}. {end}.",
                )
            )
        end = f"So at the very end the points that {self.asked} has are {total}."
        return (*steps, ReferenceStep(f"End: {total}.", end))

    @property
    def transcript(self) -> str:
        """Colors and places as text."""
        return "\n".join(f"{color}, place {n}" for race in self.races for color, n in race)

    @property
    def views(self) -> tuple[Paint, ...]:
        """One image per race."""
        return tuple(Race(self.cast, race, 1).paint for race in self.races)

    def misread(self, rng: Random) -> Self:
        """Return the same league with two places of a race swapped."""
        races = list(self.races)
        at = rng.randrange(len(races))
        races[at] = Race(self.cast, races[at], 1).misread(rng).places
        return replace(self, races=tuple(races))


def _random_gifts(rng: Random, state: dict[str, int]) -> Iterator[tuple[str, str, int]]:
    """Yield gifts after which no one has less than 0 or more than `LARGEST` apples."""
    while True:
        giver = rng.choice([color for color in state if state[color] > 0])
        taker = rng.choice([color for color in state if color != giver])
        n = rng.randint(1, min(MOST, state[giver]))
        if state[taker] + n > LARGEST:
            continue
        state[giver] -= n
        state[taker] += n
        yield giver, taker, n


def _gifts(rng: Random, level: int) -> LongGifts:
    cast = draw_cast(rng, rng.randint(3, 4))
    start = tuple(rng.randint(4, 9) for _ in cast)
    state = {color: n for (_, color), n in zip(cast, start, strict=True)}
    panels = zip(range(PANELS * (level + 1)), _random_gifts(rng, state), strict=False)
    return LongGifts(cast, start, tuple(gift for _, gift in panels), rng.choice(cast)[0])


def _cups(rng: Random, level: int) -> LongCups:
    cups = tuple(rng.sample(tuple(COLORS), 5))
    thing, start, end = rng.choice(THINGS), rng.choice(cups), rng.choice(cups)
    count = PANELS * (level + 1)
    while True:  # all cups are equally likely answers, so the text alone does not help
        pairs = (rng.sample(cups, 2) for _ in range(count))
        scene = LongCups(cups, thing, start, tuple((one, other) for one, other in pairs))
        if scene.answer == end:
            return scene


def _league(rng: Random, level: int) -> League:
    cast = draw_cast(rng, 4)
    colors = [color for _, color in cast]
    races = tuple(
        tuple(zip(rng.sample(colors, 4), rng.sample(range(1, 5), 4), strict=True))
        for _ in range(level + 1)
    )
    return League(cast, races, rng.choice(cast)[0])


def generate(rng: Random, level: int) -> LongGifts | LongCups | League:
    """Draw a random long story; higher levels (1 to 3) have more images."""
    return rng.choice((_gifts, _cups, _league))(rng, level)
