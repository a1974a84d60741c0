"""What the schedules have in common in which nothing overlaps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from dreamr.schedules.draft_end import judge_failed
from dreamr.schedules.listener import Listener
from dreamr.schedules.protocol import LaneEnded, LaneFailed, ScheduleConfig, StepDone
from dreamr.steps import Finish, Step


class Turns(Listener):
    """One thing at a time: the draft is at work, or the judge, or the target on a fallback.

    It tells a signal by the turn that it ends; whose turn is next, a method says.
    """

    def __init__(self, options: ScheduleConfig) -> None:
        super().__init__(options)
        self._target: int | None = None

    def _on_draft(self, signal: StepDone | LaneEnded | LaneFailed) -> None:
        match signal:
            case StepDone():
                self._drafted(signal)
            case LaneEnded():
                self._draft_ended()
            case LaneFailed():
                self._board.draft_failed(signal)
                self._draft_failed()

    def _on_target(self, lane: int, step: Step | None, finish: Finish | None) -> None:
        self._wrote(step, finish)

    def _advance(self) -> None:
        """Nothing is left: who hears of the end of a turn begins the next."""

    @abstractmethod
    def _drafted(self, done: StepDone) -> None:
        """The draft wrote a step."""

    @abstractmethod
    def _draft_ended(self) -> None:
        """The draft's stream ended without another step."""

    @abstractmethod
    def _pending(self) -> Sequence[Step]:
        """Drafted steps that nobody has decided on, from the frontier on."""

    def _draft_failed(self) -> None:
        """The draft's stream is gone."""
        self._draft_ended()

    def _judge_failed(self, message: str) -> None:
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
