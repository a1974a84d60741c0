"""Shapes on a board of 3 x 3 cells, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import ClassVar, Self

from dreamr_testbed.suites.canvas import COLORS, Canvas
from dreamr_testbed.suites.problem import Medium, Paint
from dreamr_testbed.suites.vqa import PLACES, ROWS, SHAPES, SIZES, Cell, paint_cell, plain_name

CELLS = 9


@dataclass(frozen=True, slots=True)
class Track:
    """A shape and its cell in each frame, from 0 to 8 row by row; None where it is hidden."""

    cell: Cell
    places: tuple[int | None, ...]

    @property
    def name(self) -> str:
        """Color and shape."""
        return plain_name(self.cell)

    def where(self, frame: int) -> str:
        """Return the place in a frame as text, such as 'top row, first'."""
        place = self.places[frame]
        return "hidden" if place is None else f"{ROWS[place // 3].lower()} row, {PLACES[place % 3]}"


@dataclass(frozen=True, slots=True)
class Tracks:
    """Shapes that move, come and go; base class of most kinds of clips."""

    tracks: tuple[Track, ...]

    medium: ClassVar[Medium] = "frames"

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.tracks[0].places)

    def shown(self, frame: int) -> list[Track]:
        """Return the shapes of a frame, row by row."""
        found = [(place, t) for t in self.tracks if (place := t.places[frame]) is not None]
        return [track for _, track in sorted(found, key=lambda one: one[0])]

    @property
    def transcript(self) -> str:
        """Shapes and places of each frame as text."""
        return "\n".join(
            ", ".join(f"{track.name} {track.where(frame)}" for track in self.shown(frame))
            or "empty"
            for frame in range(self.frames)
        )

    @property
    def views(self) -> tuple[Paint, ...]:
        """One image per frame."""
        return tuple(partial(self._paint, frame) for frame in range(self.frames))

    def _paint(self, frame: int, canvas: Canvas) -> None:
        for at in (48, 96):
            canvas.line((at, 2, at, 142), light=True)
            canvas.line((2, at, 142, at), light=True)
        for track in self.tracks:
            place = track.places[frame]
            if place is not None:
                paint_cell(canvas, place // 3, place % 3, track.cell)

    def misread(self, rng: Random) -> Self:
        """Return the same question with one shape elsewhere, hidden or shown in one frame."""
        at, frame = rng.randrange(len(self.tracks)), rng.randrange(self.frames)
        places = list(self.tracks[at].places)
        taken = {track.places[frame] for track in self.tracks}
        free = [place for place in range(CELLS) if place not in taken]
        places[frame] = rng.choice([*free, None] if self._may_hide else free)
        return self._with(at, tuple(places))

    @property
    def _may_hide(self) -> bool:
        """Whether shapes of this kind of clip can be hidden."""
        return True

    def _with(self, at: int, places: tuple[int | None, ...], cell: Cell | None = None) -> Self:
        tracks = list(self.tracks)
        tracks[at] = Track(cell or tracks[at].cell, places)
        return replace(self, tracks=tuple(tracks))


def draw_cells(rng: Random, count: int) -> list[Cell]:
    """Draw shapes of different names."""
    names = [(color, shape) for color in COLORS for shape in SHAPES]
    return [(rng.choice(SIZES), *name) for name in rng.sample(names, count)]


def draw_places(
    rng: Random, shown: Sequence[Sequence[bool]], stays: float = 0.3
) -> tuple[tuple[int | None, ...], ...]:
    """Draw places so that no two shapes share a cell.

    Args:
        rng: Source of randomness.
        shown: For each shape, in which frames it is shown.
        stays: Probability that a shape stays where it was.

    Returns:
        For each shape, its place in each frame.
    """
    found: list[list[int | None]] = [[] for _ in shown]
    for frame in range(len(shown[0])):
        taken: set[int | None] = set()
        for at, places in enumerate(found):
            before = places[-1] if places else None
            if not shown[at][frame]:
                places.append(None)
                continue
            free = [place for place in range(CELLS) if place not in taken]
            stay = before in free and rng.random() < stays
            places.append(before if stay else rng.choice([p for p in free if p != before]))
            taken.add(places[-1])
    return tuple(map(tuple, found))
