"""How often shapes move to another cell."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from dreamr_testbed.suites.clip.tracks import Track, Tracks, draw_cells, draw_places
from dreamr_testbed.suites.parts import plus
from dreamr_testbed.suites.problem import ReferenceStep, look_for


@dataclass(frozen=True, slots=True)
class Moves(Tracks):
    """Question about the number of moves of the first `picked` shapes; none is ever hidden."""

    picked: int

    @property
    def question(self) -> str:
        """Question about one or two shapes."""
        names = [f"the {track.name}" for track in self.tracks[: self.picked]]
        if len(names) == 1:
            return f"How many times does {names[0]} go to another place?"
        return f"How many times do {' and '.join(names)} go to another place, all together?"

    @property
    def _may_hide(self) -> bool:
        return False

    def _moves(self, track: Track, frame: int) -> bool:
        return frame > 0 and track.places[frame] != track.places[frame - 1]

    @property
    def answer(self) -> str:
        """Number of moves."""
        frames = range(1, self.frames)
        return str(
            sum(
                self._moves(track, frame)
                for track in self.tracks[: self.picked]
                for frame in frames
            )
        )

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: places before and after, frame by frame, with a running total."""
        picked, total = self.tracks[: self.picked], 0
        steps = [look_for(" and ".join(track.name for track in picked))]
        for frame in range(self.frames):
            for track in picked:
                steps.append(self._step(track, frame, total))
                total += self._moves(track, frame)
        end = f"So in all frames together there are {total} of them."
        return (*steps, ReferenceStep(f"In all: {total}.", end))

    def _step(self, track: Track, frame: int, total: int) -> ReferenceStep:
        """Return the step about a shape in a frame, after `total` moves before it."""
        name, place, number = track.name, track.where(frame), frame + 1
        if not frame:
            return ReferenceStep(
                f"Frame {number}: {name} {place}.",
                f"In frame {number} I see this for the {name}: {place}.",
            )
        before, verb, short, long = track.where(frame - 1), "stays", "", ""
        if self._moves(track, frame):
            sum_ = plus(total, 1)
            verb, short, long = "goes", f", {sum_}", f", and that makes {sum_}"
        return ReferenceStep(
            f"Frame {number}: {name} from {before} to {place}: {verb}{short}.",
            f"In frame {number} the {name} was before at {before} and is now at {place}, "
            f"so it {verb}{long}.",
        )


def draw_moves(rng: Random, frames: int, picked: int) -> Moves:
    """Draw a clip of `frames` frames and a question about `picked` shapes."""
    wanted = rng.randint(0 if picked == 1 else 2, picked * (frames - 1) - picked + 1)
    stays = 1 - wanted / (picked * (frames - 1))
    while True:
        cells = draw_cells(rng, picked + rng.randint(1, 2))
        places = draw_places(rng, [[True] * frames for _ in cells], stays)
        scene = Moves(tuple(map(Track, cells, places)), picked)
        if int(scene.answer) == wanted:
            return scene
