"""The answer of a run whose deadline is near: by the target, with one of the draft in reserve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dreamr.schedules.draft_end import RUN_ENDED
from dreamr.schedules.protocol import (
    Command,
    LaneEnded,
    LaneFailed,
    ScheduleConfig,
    Signal,
    StepDone,
)
from dreamr.schedules.run_state import RunState
from dreamr.schedules.stages import Stop
from dreamr.steps import Finish, Role, Step

_UNUSED = "the target answered"


class AnswerRace:
    """Two models write the answer side by side, each to its end.

    The steps of the leading model are committed. Those of the draft are only kept until the leading
    model has completed a step: if the run must end before, they are the best answer so far.
    """

    def __init__(self, config: ScheduleConfig, roles: Sequence[Role], begun: str = "") -> None:
        """Prepare the race.

        Args:
            config: Options of the schedule.
            roles: The leading model, and the draft if it writes in reserve.
            begun: Beginning of the answer, empty if there is none.
        """
        self._state = RunState(config)
        self._roles, self._begun = roles, begun
        self._lead = -1  # lane of the leading model
        self._reserve: int | None = None  # lane of the draft
        self._kept: list[Step] = []  # complete steps of the draft

    def resume(self, steps: Iterable[Step], lane: int) -> None:
        """Continue a text that another schedule committed; see `RunState.resume`."""
        self._state.resume(steps, lane)

    def start(self) -> Sequence[Command]:
        """Open the lanes."""
        lead, *reserve = self._roles
        most = self._state.config.max_steps
        self._lead = self._state.open(lead, most, begun=self._begun)
        if reserve:
            self._reserve = self._state.open(reserve[0], most, begun=self._begun)
        return self._state.take_commands()

    def handle(self, signal: Signal) -> Sequence[Command]:
        """Commit a step of the leading model, keep one of the draft."""
        state = self._state
        if not state.admit(signal):
            return []
        match signal:
            case StepDone(lane, step) if lane == self._reserve:
                self._kept.append(step)
            case LaneFailed(lane) if lane == self._reserve:
                self._drop("the draft failed")
            case StepDone(_, step, finish):
                self._commit(step, finish)
            case LaneEnded(lane, finish) if lane == self._lead:
                self._commit(None, finish)
            case LaneFailed():
                self._drop(RUN_ENDED)
                state.finish(*state.target_failed(signal))
            case Stop():
                self._drop(RUN_ENDED)
                state.finish("length")
        return state.take_commands()

    def _commit(self, step: Step | None, finish: Finish | None) -> None:
        self._drop(_UNUSED)
        end = self._state.commit_unjudged(step, finish, self._roles[0])
        if end is not None:
            self._state.finish(end)

    def _drop(self, why: str) -> None:
        """Close the draft's lane and discard its steps."""
        self._state.close(self._reserve)
        self._state.discard_drafted(self._state.position, self._kept, why)
        self._reserve, self._kept = None, []
