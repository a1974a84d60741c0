"""Shapes that come and go: how many come, and which one comes at which place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Self

from dreamr_testbed.suites.canvas import COLORS
from dreamr_testbed.suites.clip.tracks import Track, Tracks, draw_cells, draw_places
from dreamr_testbed.suites.parts import plus
from dreamr_testbed.suites.problem import ReferenceStep, look_for
from dreamr_testbed.suites.vqa import SHAPES, SIZES, things


@dataclass(frozen=True, slots=True)
class _Coming(Tracks):
    """Shapes of which each is shown in a row of frames; base class of both kinds."""

    def new(self, frame: int) -> list[Track]:
        """Return the shapes that a frame shows and no earlier one."""
        return [
            track
            for track in self.shown(frame)
            if all(place is None for place in track.places[:frame])
        ]

    @property
    def order(self) -> list[Track]:
        """All shapes in the order in which they come; those of one frame row by row."""
        return [track for frame in range(self.frames) for track in self.new(frame)]

    def _read(self, note: Callable[[list[Track]], tuple[str, str]]) -> list[ReferenceStep]:
        """Return a step per frame, which says of each shape whether it is new.

        Args:
            note: Returns what follows a new shape, terse and wordy, given all that have come up to
                it. Empty texts for nothing.
        """
        steps, come = [], 0
        for frame in range(self.frames):
            new, terse, wordy = self.new(frame), [], []
            for track in self.shown(frame):
                age = "new" if track in new else "old"
                come += track in new
                short, long = note(self.order[:come]) if track in new else ("", "")
                terse.append(f"{track.name} {age}{short}")
                wordy.append(f"{track.name} which is {age}{long}")
            steps.append(
                ReferenceStep(
                    f"Frame {frame + 1}: {', '.join(terse) or 'empty'}.",
                    f"In frame {frame + 1} I see this: {', '.join(wordy) or 'empty'}.",
                )
            )
        return steps

    def misread(self, rng: Random) -> Self:
        """Return the same question with another shape, or one that comes earlier or later."""
        at = rng.randrange(len(self.tracks))
        if rng.random() < 0.5:
            cell = draw_cells(rng, 1)[0]
            if cell[1:] in [track.cell[1:] for track in self.tracks]:
                return self
            return self._with(at, self.tracks[at].places, cell)
        places = list(self.tracks[at].places)
        first = next(frame for frame, place in enumerate(places) if place is not None)
        if first + 1 < len(places) and places[first + 1] is not None and rng.random() < 0.5:
            places[first] = None
        elif first > 0:
            places[first - 1] = places[first]
        return self._with(at, tuple(places))


@dataclass(frozen=True, slots=True)
class Coming(_Coming):
    """Question about the number of shapes with a shape or one of two shapes (`words`)."""

    words: tuple[str, ...]

    @property
    def question(self) -> str:
        """Question about the number of shapes."""
        many = " and ".join(map(things, self.words))
        return f"How many different {many} do the frames show{' together' * (len(self.words) > 1)}?"

    @property
    def answer(self) -> str:
        """Number of shapes."""
        return str(sum(track.cell[2] in self.words for track in self.tracks))

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: what is old and new, frame by frame, with running totals."""
        start = look_for(" and ".join(map(things, self.words)))
        kinds = [track.cell[2] for track in self.order]
        return (start, *self._read(self._note), self._end([kinds.count(w) for w in self.words]))

    def _note(self, come: list[Track]) -> tuple[str, str]:
        """Return the running total of the last shape's kind, if it counts."""
        *before, word = (track.cell[2] for track in come)
        if word not in self.words:
            return "", ""
        many, sum_ = things(word), plus(before.count(word), 1)
        return f": {many} {sum_}", f": the number of {many} is {sum_}"

    def _end(self, totals: list[int]) -> ReferenceStep:
        if len(totals) == 2:
            sum_ = f"{totals[0]} + {totals[1]} = {sum(totals)}"
            return ReferenceStep(
                f"Together: {sum_}.", f"Now I add the two numbers, and that gives {sum_}."
            )
        end = f"So in all frames together there are {totals[0]} of them."
        return ReferenceStep(f"In all: {totals[0]}.", end)


@dataclass(frozen=True, slots=True)
class Number(_Coming):
    """Question about the shape that comes as number `asked`; no two come in one frame."""

    asked: int

    @property
    def question(self) -> str:
        """Question about one place in the order."""
        return f"The shapes come one after the other. Which shape is number {self.asked}?"

    @property
    def answer(self) -> str:
        """Color and shape; 'none' if fewer shapes come."""
        order = self.order
        return order[self.asked - 1].name if len(order) >= self.asked else "none"

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: what is old and new, frame by frame, with running numbers."""
        end = ReferenceStep(
            f"Found number {self.asked}: {self.answer}.",
            f"So the shape with number {self.asked} is this: {self.answer}.",
        )
        return (look_for(f"number {self.asked}"), *self._read(self._note), end)

    def _note(self, come: list[Track]) -> tuple[str, str]:
        """Return the number of the last shape, and its name after it."""
        number, name = len(come), come[-1].name
        return f", number {number}: {name}", f", and number {number} is this: {name}"


def _spans(rng: Random, first: list[int], frames: int) -> list[list[bool]]:
    """Draw in which frames shapes are shown that come in the given ones: one to four in a row."""
    ends = [start + rng.randint(1, 4) for start in first]
    return [[a <= frame < b for frame in range(frames)] for a, b in zip(first, ends, strict=True)]


def draw_coming(rng: Random, frames: int, picked: int) -> Coming:
    """Draw a clip of `frames` frames and a question about one or two shapes."""
    words = tuple(rng.sample(SHAPES, picked))
    wanted = rng.randint(1, min(frames, 6)) if picked == 1 else rng.randint(2, frames + 2)
    others = [shape for shape in SHAPES if shape not in words]
    while True:
        names = rng.sample(list(product(COLORS, words)), wanted)
        names += rng.sample(list(product(COLORS, others)), rng.randint(1, 3))
        first = [rng.randrange(frames) for _ in names]
        shown = _spans(rng, first, frames)
        crowd = max(sum(one[frame] for one in shown) for frame in range(frames))
        if crowd > 5 or max(first) < frames // 2:
            continue
        cells = [(rng.choice(SIZES), *name) for name in names]
        tracks = list(map(Track, cells, draw_places(rng, shown, 0.6)))
        rng.shuffle(tracks)
        return Coming(tuple(tracks), words)


def draw_number(rng: Random, frames: int, picked: int) -> Number:
    """Draw a clip of `frames` frames; with `picked` 2, more shapes come and late ones are asked."""
    while True:
        count = rng.randint(3, frames if picked == 2 else min(frames, 5))
        first = sorted(rng.sample(range(frames), count))
        shown = _spans(rng, first, frames)
        cells = draw_cells(rng, count)
        tracks = list(map(Track, cells, draw_places(rng, shown, 0.6)))
        rng.shuffle(tracks)
        return Number(tuple(tracks), rng.randint(2 if picked == 1 else count // 2 + 1, count))
