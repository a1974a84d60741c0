"""Base class of the schedules without overlap."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from dreamr.gate import Verdict
from dreamr.schedules.draft_end import RUN_ENDED, judge_failed
from dreamr.schedules.protocol import (
    Command,
    Judged,
    JudgeFailed,
    LaneEnded,
    LaneFailed,
    ScheduleConfig,
    Signal,
    StepDone,
)
from dreamr.schedules.run_state import RunState
from dreamr.schedules.stages import Stop
from dreamr.steps import Finish, Step


class TurnBasedSchedule(ABC):
    """A schedule that runs one turn at a time: draft, judge call or fallback.

    Each signal ends a turn; its handler starts the next.
    """

    def __init__(self, config: ScheduleConfig) -> None:
        self._config = config
        self._state = RunState(config)
        self._draft: int | None = None  # the draft's lane
        self._target: int | None = None  # the target's lane

    def start(self) -> Sequence[Command]:
        """Start the draft's first turn."""
        self._start_draft()
        return self._state.take_commands()

    def handle(self, signal: Signal) -> Sequence[Command]:
        """End the turn that the signal belongs to, and start the next."""
        if self._state.admit(signal):
            self._note(signal)
        return self._state.take_commands()

    def _note(self, signal: Signal) -> None:
        match signal:
            case StepDone(lane) | LaneEnded(lane) | LaneFailed(lane) if lane == self._draft:
                self._on_draft(signal)
            case StepDone(_, step, finish):
                self._on_target(step, finish)
            case LaneEnded(_, finish):
                self._on_target(None, finish)
            case Judged(_, verdicts):
                self._on_verdicts(verdicts)
            case JudgeFailed(_, message, lost=False):
                self._on_judge_failure(message)
            case LaneFailed() | JudgeFailed():
                state = self._state
                end, error = state.target_failed(signal)
                state.discard_drafted(state.position, self._undecided(), "target lost")
                state.finish(end, error)
            case Stop():
                self._state.discard_drafted(self._state.position, self._undecided(), RUN_ENDED)
                self._state.finish("length")

    def _on_draft(self, signal: StepDone | LaneEnded | LaneFailed) -> None:
        match signal:
            case StepDone():
                self._on_drafted(signal)
            case LaneEnded():
                self._on_draft_end()
            case LaneFailed():
                self._state.draft_failed(signal)
                self._on_draft_failure()

    @abstractmethod
    def _start_draft(self) -> None:
        """Start a turn of the draft at the frontier."""

    @abstractmethod
    def _on_drafted(self, done: StepDone) -> None:
        """Handle a drafted step."""

    @abstractmethod
    def _on_draft_end(self) -> None:
        """Handle the end of the draft's stream without another step."""

    @abstractmethod
    def _on_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Handle the verdicts of the judge call."""

    @abstractmethod
    def _undecided(self) -> Sequence[Step]:
        """Return the undecided drafted steps, from the frontier on."""

    def _on_draft_failure(self) -> None:
        self._on_draft_end()

    def _on_judge_failure(self, message: str) -> None:
        self._state.warn(f"judge call failed: {message}")
        self._on_verdicts([judge_failed(message)])

    def _fall_back(self) -> None:
        """Start a turn of the target, for one step."""
        self._state.close(self._draft)
        self._draft = None
        self._target = self._state.open("target", 1)

    def _on_target(self, step: Step | None, finish: Finish | None) -> None:
        """Commit the target's step, or end with its stream (`step` is then None)."""
        if (end := self._state.commit_unjudged(step, finish)) is not None:
            self._state.finish(end)
        else:
            self._state.close(self._target)
            self._start_draft()
