"""What the schedules of two models have in common: whose turn a signal concerns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from dreamr.gate import Verdict
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
from dreamr.steps import Finish, Step


class Listener(ABC):
    """Tells a method what was heard, then lets it do all that has become possible."""

    def __init__(self, options: ScheduleConfig) -> None:
        self._board = RunState(options)
        self._draft: int | None = None  # the draft's lane

    def start(self) -> Sequence[Command]:
        """Let the draft begin, and the target where it does not wait."""
        self._redraft()
        self._advance()
        return self._board.take()

    def handle(self, signal: Signal) -> Sequence[Command]:
        """Take note of the signal, then go on."""
        if not self._board.admit(signal):
            return []
        match signal:
            case StepDone(lane) | LaneEnded(lane) | LaneFailed(lane) if lane == self._draft:
                self._on_draft(signal)
            case StepDone(lane, step, finish):
                self._on_target(lane, step, finish)
            case LaneEnded(lane, finish):
                self._on_target(lane, None, finish)
            case LaneFailed(_, message):
                self._fail(message)
            case Judged(_, verdicts):
                self._decided(verdicts)
            case JudgeFailed(_, message, lost) if lost:
                self._fail(message)
            case JudgeFailed(_, message):
                self._judge_failed(message)
        self._advance()
        return self._board.take()

    @abstractmethod
    def _redraft(self) -> None:
        """Let the draft write from the frontier; what it was writing is out of date."""

    @abstractmethod
    def _on_draft(self, signal: StepDone | LaneEnded | LaneFailed) -> None:
        """The draft wrote a step, or its lane is over."""

    @abstractmethod
    def _on_target(self, lane: int, step: Step | None, finish: Finish | None) -> None:
        """The target wrote a step, or ended before one was complete."""

    @abstractmethod
    def _decided(self, verdicts: Sequence[Verdict]) -> None:
        """The judge has spoken on the steps that it was asked about."""

    @abstractmethod
    def _judge_failed(self, message: str) -> None:
        """The judge has not; no verdict is a reject."""

    @abstractmethod
    def _fail(self, message: str) -> None:
        """The target is lost, and the run with it."""

    @abstractmethod
    def _advance(self) -> None:
        """Do what has become possible."""
