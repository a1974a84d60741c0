"""The whole draft first, then the longest valid prefix of it in one pass."""

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


class Parse:
    """PARSE (arXiv 2605.04263).

    Faithful: the draft writes to its end; the target judges every prefix of that in one forward
    pass under a mask, and the longest valid prefix is kept. Different: what a valid prefix is, the
    gate of this project decides (the ratio of the two words); behind a prefix that is not the
    whole, the target writes one step and the draft then writes the rest anew, where the paper has
    the target go on; and the final answer is the target's own unless `answer` is 'verified', so
    that it is as right as the other methods are.

    At any time exactly one of three is at work: the draft, the judge, or the target on a fallback.
    """

    def __init__(self, options: Options) -> None:
        self._board = Board(options)
        self._draft: int | None = None
        self._target: int | None = None
        self._credit = 0
        self._waiting: list[Step] = []

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
                self._fell_back(step, finish)
            case LaneEnded(lane) if lane == self._draft:
                self._judge()
            case LaneEnded(_, finish):
                self._fell_back(None, finish)
            case LaneFailed(lane, message):
                if lane == self._draft:
                    self._board.draft_failed(signal)
                    self._judge()
                else:
                    self._fail(message)
            case Judged(_, verdicts):
                self._decided(verdicts)
            case JudgeFailed(_, message, lost):
                if lost:
                    self._fail(message)
                else:
                    self._board.report(f"judging failed: {message}")
                    self._decided([judge_failed(message)])
        return self._board.take()

    def _redraft(self) -> None:
        if self._board.draft_lost:
            self._fall_back()
        else:
            self._credit = self._board.options.max_steps - self._board.position
            self._draft = self._board.open("draft", self._credit)

    def _drafted(self, step: Step, finish: Finish | None) -> None:
        self._waiting.append(step)
        cut = step.ending is Ending.CAP
        if finish is not None or cut or len(self._waiting) == self._credit:
            self._judge()

    def _judge(self) -> None:
        """The draft has come to an end, or to a step behind which nothing can be kept."""
        self._board.close(self._draft)
        self._draft = None
        if self._waiting and not self._last_words(self._waiting[0]):
            self._board.judge(self._waiting)
        else:
            self._decided([])

    def _last_words(self, step: Step) -> bool:
        return step.ending is Ending.CAP or is_claim(step, self._board.options.answer)

    def _decided(self, verdicts: Sequence[Verdict]) -> None:
        """Keep the steps up to the first that is refused, or that no verdict can help."""
        waiting, self._waiting = self._waiting, []
        for place, step in enumerate(waiting):
            if is_claim(step, self._board.options.answer):
                self._board.discard(self._board.position, step, "draft", CLAIM)
                break
            verdict = CUT if step.ending is Ending.CAP else verdicts[place]
            if not verdict.accepted:
                self._refuse(step, verdict, waiting[place + 1 :])
                break
            if (end := self._board.commit_drafted(step, verdict)) is not None:
                self._drop(waiting[place + 1 :], "the run ended")
                self._board.finish(end)
                return
        self._fall_back()

    def _refuse(self, step: Step, verdict: Verdict, rest: Sequence[Step]) -> None:
        self._board.reject(step, verdict)
        for place, other in enumerate(rest, self._board.position + 1):
            self._board.discard(place, other, "draft", "it followed a rejected step")

    def _drop(self, steps: Sequence[Step], why: str) -> None:
        for place, step in enumerate(steps, self._board.position):
            self._board.discard(place, step, "draft", why)

    def _fall_back(self) -> None:
        self._target = self._board.open("target", 1)

    def _fell_back(self, step: Step | None, finish: Finish | None) -> None:
        if (end := self._board.commit_own(step, finish)) is not None:
            self._board.finish(end)
        else:
            self._board.close(self._target)
            self._redraft()

    def _fail(self, message: str) -> None:
        self._drop(self._waiting, "the target was lost")
        self._waiting = []
        self._board.finish("failed", message)
