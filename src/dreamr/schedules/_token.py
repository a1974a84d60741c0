"""Speculative decoding by tokens: the classical method, with the same two models."""

from __future__ import annotations

from collections.abc import Sequence

from dreamr.schedules._board import Board
from dreamr.schedules._protocol import (
    Command,
    Finish,
    Judged,
    JudgeFailed,
    LaneEnded,
    LaneFailed,
    Options,
    RunEnd,
    Signal,
    StepDone,
)
from dreamr.steps import Ending, Step

_FIRST, _MORE, _LESS, _MOST = 5, 2, 1, 32  # tokens of a guess


class TokenSpeculation:
    """The draft guesses some tokens, the target checks them in one pass and writes one itself.

    The source is arXiv 2211.17192; the length of a guess is that of transformers' assisted
    generation (5 tokens at first, 2 more after one that was right to its end, else 1 less).
    Faithful: greedy and exact, the text is what the target alone writes; guesses and checks take
    turns. Different: draft and target are processes of their own, as for all methods here, which
    costs some messages a guess; what is committed is pieces of text, not steps.

    At any time exactly one of three is at work: the draft on a guess, the target checking it, or
    the target writing down what that has shown it (an engine that has checked a guess knows the
    tokens, and computes none).
    """

    def __init__(self, options: Options) -> None:
        self._board = Board(options)
        self._draft: int | None = None
        self._target: int | None = None
        self._size = _FIRST
        self._most = 0  # tokens that the target's lane may write
        self._written = 0
        self._guess: list[Step] = []

    def start(self) -> Sequence[Command]:
        """Let the draft guess."""
        self._redraft()
        return self._board.take()

    def handle(self, signal: Signal) -> Sequence[Command]:
        """Take the turn that the signal ends, if it ends one."""
        if not self._board.admit(signal):
            return []
        match signal:
            case StepDone(lane, step, finish) if lane == self._draft:
                self._guess.append(step)
                if finish is not None:
                    self._check()
            case StepDone(_, step, finish):
                self._wrote(step, finish)
            case LaneEnded(lane) if lane == self._draft:
                self._check()
            case LaneEnded(_, finish):
                self._wrote(None, finish)
            case LaneFailed(lane, message):
                if lane == self._draft:
                    self._board.draft_failed(signal)
                    self._drop_guess("the draft failed")
                    self._write(0)
                else:
                    self._fail(message)
            case Judged(_, (verdict, *_)):
                evidence = verdict.evidence
                self._adapt(verdict.accepted)
                self._drop_guess(verdict.reason)
                self._write(0 if evidence is None else evidence.agreed)
            case JudgeFailed(_, message, lost):
                if lost:
                    self._fail(message)
                else:
                    self._board.report(f"checking failed: {message}")
                    self._drop_guess("checking failed")
                    self._write(0)
        return self._board.take()

    def _redraft(self) -> None:
        if self._board.draft_lost:
            self._write(self._board.room)
        else:
            self._draft = self._board.open("draft", self._size, most=self._size)

    def _check(self) -> None:
        self._draft = None
        if self._guess:
            text = "".join(step.text for step in self._guess)
            tokens = sum(step.tokens for step in self._guess)
            self._board.judge([Step(text, tokens, Ending.CAP)])
        else:
            self._write(0)

    def _adapt(self, right: bool) -> None:
        self._size = min(_MOST, self._size + _MORE) if right else max(1, self._size - _LESS)

    def _write(self, agreed: int) -> None:
        """Let the target write what it agreed to, and one token of its own."""
        self._draft, self._written = None, 0
        self._most = min(agreed + 1, self._board.room)
        self._target = self._board.open("target", self._most, most=self._most)

    def _wrote(self, step: Step | None, finish: Finish | None) -> None:
        end: RunEnd | None = None
        if step is not None:
            self._written += step.tokens
            end = self._board.commit_piece(step)
        if end is None and finish == "stop":
            end = "stop"
        elif end is None and finish == "length" and self._written < self._most:
            self._board.report("the target was cut by the limit on tokens")
            end = "length"
        if end is not None:
            self._board.finish(end)
        elif finish is not None:
            self._redraft()

    def _drop_guess(self, why: str) -> None:
        """What was guessed is not committed itself: the target says the same, as far as it goes."""
        for place, step in enumerate(self._guess, self._board.position):
            self._board.discard(place, step, "draft", why)
        self._guess = []

    def _fail(self, message: str) -> None:
        self._drop_guess("the target was lost")
        self._board.finish("failed", message)
