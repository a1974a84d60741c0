"""Draft, judge, fall back: one thing at a time (SpecReason's loop, and FPSR's twin)."""

from __future__ import annotations

from collections.abc import Sequence

from dreamr.gate import Verdict
from dreamr.schedules._board import Board
from dreamr.schedules._claims import CLAIM, CUT, is_claim, judge_failed
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
from dreamr.steps import Ending, Step


class Sequential:
    """The oracle: nothing overlaps, so nothing can depend on timing.

    With the gate `ScoreGate` this is SpecReason (arXiv 2504.07891). Faithful: the draft writes a
    step, the target rates it, keeps it or writes the step anew, strictly in turns. Different: the
    draft is greedy unless it is told otherwise (paper: temperature 0.6, top-p 0.95); the final
    answer is the target's own unless `answer` is 'verified'; a step is whatever the models' own
    delimiter ends, and the draft's stream stays open while it is rated.

    At any time exactly one of three is at work: the draft on its next step, the judge on
    `_candidate`, or the target on a fallback.
    """

    def __init__(self, options: Options) -> None:
        self._board = Board(options)
        self._draft: int | None = None
        self._target: int | None = None
        self._candidate: Step | None = None

    def start(self) -> Sequence[Command]:
        """Let the draft begin."""
        self._redraft()
        return self._board.take()

    def handle(self, signal: Signal) -> Sequence[Command]:
        """Take the turn that the signal ends."""
        if not self._board.admit(signal):
            return []
        match signal:
            case StepDone(lane, step, finish) if lane == self._draft:
                self._drafted(step, finish)
            case StepDone(_, step, finish):
                self._fell_back(step, finish)
            case LaneEnded(lane, finish):
                if lane == self._draft:
                    self._fall_back()
                else:
                    self._fell_back(None, finish)
            case LaneFailed(lane, message):
                if lane == self._draft:
                    self._board.draft_failed(signal)
                    self._fall_back()
                else:
                    self._fail(message)
            case Judged(_, (verdict, *_)):
                self._decided(verdict)
            case JudgeFailed(_, message, lost):
                if lost:
                    self._fail(message)
                else:
                    self._board.report(f"judging failed: {message}")
                    self._decided(judge_failed(message))
        return self._board.take()

    def _redraft(self) -> None:
        if self._board.draft_lost:
            self._fall_back()
        else:
            self._draft = self._board.open("draft", 1)

    def _drafted(self, step: Step, finish: Finish | None) -> None:
        board = self._board
        if finish is not None:
            self._draft = None
        if is_claim(step, board.options.answer):
            board.discard(board.position, step, "draft", CLAIM)
            self._fall_back()
            return
        self._candidate = step
        if step.ending is Ending.CAP:
            self._decided(CUT)
        else:
            board.judge([step])

    def _decided(self, verdict: Verdict) -> None:
        board, step = self._board, self._candidate
        assert step is not None
        self._candidate = None
        if not verdict.accepted:
            board.reject(step, verdict)
            self._fall_back()
            return
        if (end := board.commit_drafted(step, verdict)) is not None:
            board.finish(end)
        elif self._draft is None:
            self._fall_back()
        else:
            board.grant(self._draft)

    def _fall_back(self) -> None:
        self._board.close(self._draft)
        self._draft = None
        self._target = self._board.open("target", 1)

    def _fell_back(self, step: Step | None, finish: Finish | None) -> None:
        if (end := self._board.commit_own(step, finish)) is not None:
            self._board.finish(end)
        else:
            self._board.close(self._target)
            self._redraft()

    def _fail(self, message: str) -> None:
        board = self._board
        if self._candidate is not None:
            board.discard(board.position, self._candidate, "draft", "the target was lost")
        board.finish("failed", message)
