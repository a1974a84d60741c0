"""The target alone: what every speed-up is measured against."""

from __future__ import annotations

from collections.abc import Sequence

from dreamr.schedules._board import Board
from dreamr.schedules._protocol import Command, LaneEnded, LaneFailed, Options, Signal, StepDone


class TargetAlone:
    """One lane of the target, from the first step to the last."""

    def __init__(self, options: Options) -> None:
        self._board = Board(options)

    def start(self) -> Sequence[Command]:
        """Open the lane."""
        self._board.open("target", self._board.options.max_steps)
        return self._board.take()

    def handle(self, signal: Signal) -> Sequence[Command]:
        """Commit each step as it comes."""
        board = self._board
        if not board.admit(signal):
            return []
        match signal:
            case StepDone(_, step, finish):
                end = board.commit_own(step, finish)
            case LaneEnded(_, finish):
                end = board.commit_own(None, finish)
            case LaneFailed(_, message):
                end = None
                board.finish("failed", message)
        if end is not None:
            board.finish(end)
        return board.take()
