"""Fully parallel speculative reasoning: draft, judge and target at the same time.

The frontier is the end of the committed text. What is in flight around it:

    committed | waiting[0] waiting[1] ... | (the step that the draft is writing)
              | own                         (the target's step at the frontier: the fallback)

One judge call at a time covers the waiting steps from the front, and grows as more of them are
complete; what comes too late for it is asked about in the next. A claim behind them goes along:
nothing is asked about it, but an engine that has read the claim knows in the same pass how far it
would have written the same (`dreamr.engines.local`). A claim that nobody was asked about is a guess
at what the target writes in its place. The source is section 3 of the paper
(arXiv 2605.28678).

Beyond the paper: after a rejection the draft need not idle until the target's own step is there.
Where the judging has shown how that begins, the draft writes its end too, and goes on behind it:

    committed | guess | waiting[1] waiting[2] ... | (the step that the draft is writing)
              | own

If the target then writes the same, the draft is steps ahead; if not, it begins anew. With
`resamples` it races against the target instead (`Race`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dreamr.gate import Verdict
from dreamr.schedules.ahead import Ahead, Drafted
from dreamr.schedules.draft_end import CUT, DRAFT_END, PREDICTED
from dreamr.schedules.protocol import Command, ScheduleConfig, Signal
from dreamr.schedules.resampling import Race
from dreamr.steps import Finish, Step


@dataclass(frozen=True, slots=True)
class _Own:
    """What the target wrote at the frontier; no step where its stream ended before one."""

    step: Step | None
    finish: Finish | None


class Fpsr(Ahead):
    """The paper's schedule, with the drafted text arriving as one stream.

    The draft is waited for as long as a complete drafted step has no verdict yet; otherwise the
    first to complete the step at the frontier wins (with `deterministic`, the draft is always
    waited for, and does not run ahead of the target after a rejection).
    """

    def __init__(self, options: ScheduleConfig) -> None:
        super().__init__(options, options.final_answer)
        self._target: int | None = None
        self._alone = False  # whether the target's lane goes on by itself after each step
        self._ahead = False  # whether what waits begins with a guess at the target's own step
        self._own: _Own | None = None
        self._race: Race | None = None
        self._claim = ""  # the draft's end at the frontier, where it is discarded

    def handle(self, signal: Signal) -> Sequence[Command]:
        """As every schedule; what concerns a race goes there."""
        if self._race is None or not self._race.concerns(signal):
            return super().handle(signal)
        if self._board.admit(signal):
            self._race.hear(signal)
            self._advance()
        return self._board.take()

    def _on_target(self, lane: int, step: Step | None, finish: Finish | None) -> None:
        self._own = _Own(step, finish)
        if finish is not None:
            self._target = None

    def _work(self) -> None:
        if self._race is not None:
            self._race.judge()
        self._judge()
        self._fall_back_early()

    def _decide_next(self) -> bool:
        if self._waiting and not self._ahead:
            if self._waiting[0].decided:
                self._settle_drafted(self._waiting.popleft())
                return True
            return False
        if self._race is not None and self._race.won is not None:
            self._accept(*self._race.won)
            return True
        if self._own is not None and not (self._options.deterministic and self._draft is not None):
            self._commit_own(self._own)
            return True
        return False

    def _settle_drafted(self, drafted: Drafted) -> None:
        board, step, verdict = self._board, drafted.step, drafted.verdict
        if drafted.claim or verdict is None:
            board.discard(board.position, step, "draft", DRAFT_END)
            self._claim = step.text
        elif verdict.accepted:
            self._accept(step, verdict)
        else:
            board.reject(step, verdict)
            self._drop_waiting(board.position + 1, "it followed a rejected step")
            self._close_draft()
            self._try_again(step, verdict)

    def _try_again(self, rejected: Step, verdict: Verdict) -> None:
        """Give the draft something to do until the target's own step is there, if there is time."""
        if self._own is not None or self._board.draft_lost or self._options.deterministic:
            return
        if self._options.resamples:
            self._race = Race(self._board, self._options.resamples, rejected)
        else:
            self._run_ahead(verdict)

    def _run_ahead(self, verdict: Verdict) -> None:
        """Let the draft complete what the target is about to write, if its beginning is known."""
        if begun := verdict.evidence.target_prefix if verdict.evidence is not None else "":
            self._draft = self._board.open("draft", self._options.window, begun=begun)
            self._ahead = True

    def _accept(self, step: Step, verdict: Verdict) -> None:
        self._drop_own("the draft's step was accepted")
        self._close_target()
        raced = self._end_race("another try was accepted")
        if (end := self._board.commit_drafted(step, verdict)) is not None:
            self._finish(end)
        elif raced:
            self._redraft()
        else:
            self._board.grant(self._draft)

    def _commit_own(self, own: _Own) -> None:
        self._own = None
        self._end_race("the target was first")
        predicted = self._take_guess(own)
        if (end := self._board.commit_own(own.step, own.finish)) is not None:
            self._finish(end)
            return
        if not self._alone:
            self._close_target()
        if predicted:
            self._board.grant(self._draft)
        else:
            self._redraft()

    def _take_guess(self, own: _Own) -> bool:
        """Whether the draft has foreseen the target's step, so that what is behind it may stay."""
        ahead, self._ahead = self._ahead, False
        if not (ahead and self._waiting):
            return False
        guess = self._waiting[0].step
        predicted = own.step is not None and own.step.text == guess.text
        if predicted:
            self._waiting.popleft()
            self._board.discard(self._board.position, guess, "draft", PREDICTED)
        else:
            self._drop_waiting(self._board.position, "the target wrote another step before it")
        return predicted

    def _redraft(self) -> None:
        self._claim = ""
        super()._redraft()

    def _judge(self) -> None:
        """Ask about all complete waiting steps at once, and about a claim behind them.

        Among them are those that need no verdict: who judges what follows has to read them.
        """
        if not self._ahead and any(not drafted.decided for drafted in self._waiting):
            self._board.judge(d.step for d in self._waiting if d.verdict is not CUT)

    def _fall_back_early(self) -> None:
        """Let the target write its own step at the frontier, where that is wanted."""
        if self._target is not None or self._own is not None:
            return
        needed = self._ahead or (self._draft is None and not self._waiting)
        wanted = {"eager": True, "idle": not self._waiting, "on-reject": False}[
            self._options.fallback
        ]
        if needed or wanted:
            self._alone = needed and self._board.draft_lost
            credit = self._options.max_steps if self._alone else 1
            self._target = self._board.open("target", credit, guess=self._claim)

    def _close_target(self) -> None:
        self._board.close(self._target)
        self._target = None

    def _drop_own(self, why: str) -> None:
        if self._own is not None and self._own.step is not None:
            self._board.discard(self._board.position, self._own.step, "target", why)
        self._own = None

    def _end_race(self, why: str) -> bool:
        """Whether there was one."""
        race, self._race = self._race, None
        if race is not None:
            race.end(why)
        return race is not None

    def _discard_target_steps(self) -> None:
        self._end_race("the run ended")
        self._drop_own("the run ended")
