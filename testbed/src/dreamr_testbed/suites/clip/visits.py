"""How often a shape is in a row of the board, or hidden."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from dreamr_testbed.suites.clip.tracks import Track, Tracks, draw_cells, draw_places
from dreamr_testbed.suites.parts import plus
from dreamr_testbed.suites.problem import ReferenceStep, look_for
from dreamr_testbed.suites.vqa import ROWS

HIDDEN = 3  # in place of a row


@dataclass(frozen=True, slots=True)
class Visits(Tracks):
    """Question about the number of frames in which a shape is in a row or hidden.

    The first `picked` shapes are in the question: with two, it asks how much more often the first
    is there than the second.

    Attributes:
        row: Row from 0, or `HIDDEN`.
        picked: Number of shapes in the question.
    """

    row: int
    picked: int

    @property
    def _place(self) -> str:
        return "hidden" if self.row == HIDDEN else f"in the {ROWS[self.row].lower()} row"

    @property
    def question(self) -> str:
        """Question about one or two shapes."""
        first, *others = self.tracks[: self.picked]
        if not others:
            return f"In how many frames is the {first.name} {self._place}?"
        return (
            f"In how many more frames is the {first.name} {self._place} than the {others[0].name}?"
        )

    def _is_there(self, track: Track, frame: int) -> bool:
        place = track.places[frame]
        return self.row == HIDDEN if place is None else place // 3 == self.row

    def counts(self) -> list[int]:
        """Return in how many frames each shape of the question is there."""
        return [
            sum(self._is_there(track, frame) for frame in range(self.frames))
            for track in self.tracks[: self.picked]
        ]

    @property
    def answer(self) -> str:
        """Number of frames, or the difference of both numbers."""
        first, *others = self.counts()
        return str(first - sum(others))

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: the places of the shapes, frame by frame, with running totals."""
        picked = self.tracks[: self.picked]
        totals = [0] * self.picked
        steps = [look_for(" and ".join(track.name for track in picked))]
        for frame in range(self.frames):
            for at, track in enumerate(picked):
                here = self._is_there(track, frame)
                sum_ = plus(totals[at], here)
                verdict = f"yes, {sum_}" if here else "no"
                end = f"yes, and that makes {sum_}" if here else "no"
                steps.append(
                    ReferenceStep(
                        f"Frame {frame + 1}: {track.name} {track.where(frame)}: {verdict}.",
                        f"In frame {frame + 1} I see this for the {track.name}: "
                        f"{track.where(frame)}. Is it {self._place}: {end}.",
                    )
                )
                totals[at] += here
        if len(totals) == 2:
            minus = f"{totals[0]} - {totals[1]} = {self.answer}"
            end = f"So the difference of the two is {minus}."
            return (*steps, ReferenceStep(f"Difference: {minus}.", end))
        end = f"So in all frames together there are {totals[0]} of them."
        return (*steps, ReferenceStep(f"In all: {totals[0]}.", end))


def draw_visits(rng: Random, frames: int, picked: int) -> Visits:
    """Draw a clip of `frames` frames and a question about `picked` shapes."""
    wanted = rng.randint(0, frames - 1 if picked == 1 else frames // 2)
    while True:
        row = rng.choice((0, 1, 2, HIDDEN))
        cells = draw_cells(rng, picked + rng.randint(1, 2))
        rare = rng.uniform(0.1, 0.9) if row == HIDDEN else 0.85
        shown = [[rng.random() < rare for _ in range(frames)] for _ in cells]
        places = draw_places(rng, shown)
        tracks = tuple(map(Track, cells, places))
        scene = Visits(tracks, row, picked)
        if int(scene.answer) == wanted:
            return scene
