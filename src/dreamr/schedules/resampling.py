"""The resampling race: other candidates for a rejected step, while the target writes its own.

    committed | rejected
              | try 1, try 2, ... (each one step of the draft, drawn anew; judged one at a time)
              | own

The first that the gate accepts is committed, and the target's lane is closed; the gate asks more of
each further try (`StepContext.resamples`). A race never holds the target up: if its own step is
complete before a try is accepted, that is committed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from dreamr.gate import Verdict
from dreamr.schedules.draft_end import CUT, DRAFT_END, is_draft_end, judge_failed
from dreamr.schedules.protocol import (
    Judged,
    JudgeFailed,
    LaneEnded,
    LaneFailed,
    Signal,
    StepDone,
)
from dreamr.schedules.run_state import RunState
from dreamr.steps import Ending, Step

_SAME = "it was tried before"


class Race:
    """Opens a lane for each try, and keeps the books of what they write.

    rejected: the step that was refused. won: what was accepted, with its verdict.
    """

    def __init__(self, board: RunState, tries: int, rejected: Step) -> None:
        self.won: tuple[Step, Verdict] | None = None
        self._board = board
        self._lanes = {board.open("draft", 1, resample=n): n for n in range(1, tries + 1)}
        self._ready: deque[tuple[Step, int]] = deque()
        self._asked: tuple[Step, int] | None = None
        self._tried = {rejected.text}

    def concerns(self, signal: Signal) -> bool:
        """Whether the signal is of one of its lanes, or of its judge call."""
        match signal:
            case StepDone(lane) | LaneEnded(lane) | LaneFailed(lane):
                return lane in self._lanes
            case Judged() | JudgeFailed(lost=False):
                return self._asked is not None
        return False

    def hear(self, signal: Signal) -> None:
        """Take note of a signal that concerns it."""
        match signal:
            case StepDone(lane, step, finish):
                number = self._lanes.pop(lane)
                if finish is None:
                    self._board.close(lane)
                self._take(step, number)
            case LaneEnded(lane):
                del self._lanes[lane]
            case LaneFailed(lane):
                del self._lanes[lane]
                self._board.draft_failed(signal)
            case Judged(_, verdicts):
                self._decide(verdicts)
            case JudgeFailed(_, message):
                self._board.report(f"judging failed: {message}")
                self._decide([judge_failed(message)])

    def judge(self) -> None:
        """Ask about the next candidate, if nobody is asked about another."""
        if self._ready and self._asked is None and not self._board.judging:
            self._asked = self._ready.popleft()
            step, number = self._asked
            self._board.judge([step], resamples=number)

    def end(self, why: str) -> None:
        """Close what is open, and throw away what nobody has decided on."""
        for lane in self._lanes:
            self._board.close(lane)
        if self._asked is not None:
            self._board.cancel_judging()
            self._ready.appendleft(self._asked)
        self._board.discard_all(self._board.position, (step for step, _ in self._ready), why)
        self._lanes, self._asked = {}, None
        self._ready.clear()

    def _take(self, step: Step, number: int) -> None:
        board = self._board
        if step.ending is Ending.CAP:
            why = CUT.reason
        elif is_draft_end(step, board.options.final_answer):
            why = DRAFT_END
        elif step.text in self._tried:
            why = _SAME
        else:
            self._tried.add(step.text)
            self._ready.append((step, number))
            return
        board.discard(board.position, step, "draft", why)

    def _decide(self, verdicts: Sequence[Verdict]) -> None:
        assert self._asked is not None
        (step, _), self._asked = self._asked, None
        verdict = verdicts[0]
        if verdict.accepted:
            self.won = step, verdict
        else:
            self._board.reject(step, verdict)
