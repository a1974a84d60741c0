"""What the schedules have in common in which nothing overlaps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from dreamr.gate import Verdict
from dreamr.schedules._board import Board
from dreamr.schedules._claims import judge_failed
from dreamr.schedules._protocol import (
    Command,
    Finish,
    Judged,
    JudgeFailed,
    LaneEnded,
    LaneFailed,
    Options,
    Signal,
    StepDone,
)
from dreamr.steps import Step


class Turns(ABC):
    """One thing at a time: the draft is at work, or the judge, or the target on a fallback.

    It tells a signal by the turn that it ends; whose turn is next, a method says.
    """

    def __init__(self, options: Options) -> None:
        self._board = Board(options)
        self._draft: int | None = None
        self._target: int | None = None

    def start(self) -> Sequence[Command]:
        """Let the draft begin."""
        self._redraft()
        return self._board.take()

    def handle(self, signal: Signal) -> Sequence[Command]:
        """Take the turn that the signal ends, if it ends one."""
        if not self._board.admit(signal):
            return []
        match signal:
            case StepDone(lane, step, finish) if lane == self._draft:
                self._drafted(step, finish)
            case StepDone(_, step, finish):
                self._wrote(step, finish)
            case LaneEnded(lane) if lane == self._draft:
                self._draft_ended()
            case LaneEnded(_, finish):
                self._wrote(None, finish)
            case LaneFailed(lane) if lane == self._draft:
                self._board.draft_failed(signal)
                self._draft_failed()
            case LaneFailed(_, message):
                self._fail(message)
            case Judged(_, verdicts):
                self._decided(verdicts)
            case JudgeFailed(_, message, lost) if lost:
                self._fail(message)
            case JudgeFailed(_, message):
                self._judge_failed(message)
        return self._board.take()

    @abstractmethod
    def _redraft(self) -> None:
        """The draft's turn, at the frontier; the target's where the draft is lost."""

    @abstractmethod
    def _drafted(self, step: Step, finish: Finish | None) -> None:
        """The draft wrote a step."""

    @abstractmethod
    def _draft_ended(self) -> None:
        """The draft's stream ended without another step."""

    @abstractmethod
    def _decided(self, verdicts: Sequence[Verdict]) -> None:
        """The judge has spoken on the steps that it was asked about."""

    @abstractmethod
    def _pending(self) -> Sequence[Step]:
        """Drafted steps that nobody has decided on, from the frontier on."""

    def _draft_failed(self) -> None:
        """The draft's stream is gone."""
        self._draft_ended()

    def _judge_failed(self, message: str) -> None:
        """No verdict is a reject."""
        self._board.report(f"judging failed: {message}")
        self._decided([judge_failed(message)])

    def _fall_back(self) -> None:
        """The target's turn, for one step."""
        self._board.close(self._draft)
        self._draft = None
        self._target = self._board.open("target", 1)

    def _wrote(self, step: Step | None, finish: Finish | None) -> None:
        """The target wrote a step, or ended before one was complete."""
        if (end := self._board.commit_own(step, finish)) is not None:
            self._board.finish(end)
        else:
            self._board.close(self._target)
            self._redraft()

    def _fail(self, message: str) -> None:
        self._board.drop(self._board.position, self._pending(), "the target was lost")
        self._board.finish("failed", message)
