"""Shapes that are put under cups, whose contents then change places."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import ClassVar, Self

from dreamr_testbed.suites.canvas import COLORS, PATCH, Canvas
from dreamr_testbed.suites.problem import Medium, Paint, ReferenceStep, look_for
from dreamr_testbed.suites.story import paint_cup
from dreamr_testbed.suites.words import both

HIDERS = ("star", "cross", "circle", "square")

# A shape and the color of the cup it is put under, or the colors of two cups that swap contents.
Event = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Shells:
    """Question about the cups that hide shapes at the end.

    Attributes:
        cups: Colors of the cups.
        events: What each frame shows.
        asked: Shapes in the question.
    """

    cups: tuple[str, ...]
    events: tuple[Event, ...]
    asked: tuple[str, ...]

    medium: ClassVar[Medium] = "frames"

    @property
    def question(self) -> str:
        """Rules, and the question about the end."""
        what = f"the {self.asked[0]} under" if len(self.asked) == 1 else ""
        rules = (
            "Each frame shows a shape that is put under a cup, or two cups whose contents change "
            "places."
        )
        if what:
            return f"{rules} Which cup is {what} at the end?"
        return f"{rules} Which cups are the {' and the '.join(self.asked)} under at the end?"

    def states(self) -> list[dict[str, str]]:
        """Return the cup of each shape after each frame."""
        state: dict[str, str] = {}
        found = []
        for one, other in self.events:
            if one in HIDERS:
                state[one] = other
            else:
                swap = {one: other, other: one}
                state = {shape: swap.get(cup, cup) for shape, cup in state.items()}
            found.append(dict(state))
        return found

    @property
    def answer(self) -> str:
        """Color of the cup, or the colors of both."""
        end = self.states()[-1]
        return " and ".join(end.get(shape, "none") for shape in self.asked)

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: the cups of the asked shapes, frame by frame."""
        before: dict[str, str] = {}
        steps = [look_for(" and ".join(self.asked))]
        for number, ((one, other), state) in enumerate(
            zip(self.events, self.states(), strict=True), 1
        ):
            shown = f"{one} under {other}" if one in HIDERS else both(one, other)
            seen = f"the {one} goes under {other}" if one in HIDERS else f"the cups are {shown}"
            what = [_what(shape, before.get(shape), state.get(shape)) for shape in self.asked]
            steps.append(
                ReferenceStep(
                    f"Frame {number}: {shown}. {', '.join(what).capitalize()}.",
                    f"In frame {number} I see that {seen}. So now it is this: {', '.join(what)}.",
                )
            )
            before = state
        end = f"So at the very end the cups that I look for are these: {self.answer}."
        return (*steps, ReferenceStep(f"End: {self.answer}.", end))

    @property
    def transcript(self) -> str:
        """What each frame shows as text."""
        return "\n".join(
            f"{one} under {other}" if one in HIDERS else both(one, other)
            for one, other in self.events
        )

    @property
    def views(self) -> tuple[Paint, ...]:
        """One image per frame."""
        return tuple(partial(_paint, event) for event in self.events)

    def misread(self, rng: Random) -> Self:
        """Return the same question with other cups in one frame."""
        events = list(self.events)
        at = rng.randrange(len(events))
        one, _ = events[at]
        if one in HIDERS:
            events[at] = (one, rng.choice(self.cups))
        else:
            first, second = rng.sample(self.cups, 2)
            events[at] = (first, second)
        return replace(self, events=tuple(events))


def _what(shape: str, before: str | None, after: str | None) -> str:
    if after is None:
        return f"{shape} not there"
    if before is None:
        return f"{shape} is under {after}"
    how = "stays under" if before == after else "goes to"
    return f"{shape} was under {before}, it {how} {after}"


def _paint(event: Event, canvas: Canvas) -> None:
    one, other = event
    if one in HIDERS:
        x = 3 * PATCH + canvas.rng.uniform(-3, 3)
        canvas.shape(x, 1.4 * PATCH, 14, one, "black")
        canvas.label(2, 0, 2, 2, ("big black", one))
        canvas.line((x, 2.3 * PATCH, x, 2.9 * PATCH))
        paint_cup(canvas, 2.5, 3, other, 1.7)
        return
    paint_cup(canvas, 0.7, 3, one, 1.7)
    paint_cup(canvas, 4.3, 3, other, 1.7)
    canvas.arrow(3 * PATCH, 1.5 * PATCH, 80, both=True)


def draw_shells(rng: Random, frames: int, picked: int) -> Shells:
    """Draw a clip of `frames` frames and a question about `picked` shapes."""
    cups = tuple(rng.sample(tuple(COLORS), 3 if frames < 6 else 4))
    shapes = rng.sample(HIDERS, 2 if frames > 4 or picked == 2 else 1)
    asked = tuple(shapes[:picked])
    end = rng.sample(cups, picked)
    while True:  # all cups are equally likely answers
        events: list[Event] = [(shape, rng.choice(cups)) for shape in shapes]
        while len(events) < frames:
            event = rng.sample(cups, 2)
            events.insert(rng.randint(1, len(events)), (event[0], event[1]))
        scene = Shells(cups, tuple(events), asked)
        if scene.answer == " and ".join(end) and any(one not in HIDERS for one, _ in events[1:]):
            return scene
