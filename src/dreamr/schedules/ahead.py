"""What the schedules have in common in which the draft runs ahead of what is decided."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from dreamr.gate import Verdict
from dreamr.schedules.draft_end import CUT, is_draft_end, judge_failed
from dreamr.schedules.listener import Listener
from dreamr.schedules.protocol import (
    FinalAnswer,
    LaneEnded,
    LaneFailed,
    RunEnd,
    ScheduleConfig,
    StepDone,
)
from dreamr.steps import Ending, Step


@dataclass(slots=True)
class Drafted:
    """A drafted step that waits. A claim is decided without a verdict, by its turn."""

    step: Step
    claim: bool = False
    verdict: Verdict | None = None

    @property
    def decided(self) -> bool:
        return self.claim or self.verdict is not None


class Ahead(Listener):
    """The draft's lane and its steps that wait; what becomes of them, a method says.

    answer: who writes the final answer, and so what of the draft is a claim.
    """

    def __init__(self, options: ScheduleConfig, answer: FinalAnswer) -> None:
        super().__init__(options)
        self._options = options
        self._answer = answer
        self._waiting: deque[Drafted] = deque()

    @abstractmethod
    def _decide_next(self) -> bool:
        """Decide on the step at the frontier, if that is possible now."""

    @abstractmethod
    def _work(self) -> None:
        """Put every idle lane to work."""

    @abstractmethod
    def _discard_target_steps(self) -> None:
        """Throw away what the target wrote and nobody has taken: the run ends."""

    def _advance(self) -> None:
        """Settle what can be settled, then go on."""
        while not self._board.finished and self._decide_next():
            pass
        if not self._board.finished:
            self._work()

    def _on_draft(self, signal: StepDone | LaneEnded | LaneFailed) -> None:
        match signal:
            case StepDone(_, step, finish, verdict):
                cut = step.ending is Ending.CAP
                claim = is_draft_end(step, self._answer)
                self._waiting.append(Drafted(step, claim, CUT if cut else verdict))
                if finish is not None:
                    self._draft = None
                elif cut:  # nothing that follows can be committed
                    self._close_draft()
            case LaneFailed():
                self._draft = None
                self._board.draft_failed(signal)
            case LaneEnded():
                self._draft = None

    def _decided(self, verdicts: Sequence[Verdict]) -> None:
        for drafted, verdict in zip(self._waiting, verdicts, strict=False):
            drafted.verdict = drafted.verdict or verdict

    def _judge_failed(self, message: str) -> None:
        self._board.report(f"judging failed: {message}")
        self._waiting[0].verdict = judge_failed(message)

    def _fail(self, message: str) -> None:
        self._finish("failed", message)

    def _redraft(self) -> None:
        self._close_draft()
        if not self._board.draft_lost:
            self._draft = self._board.open("draft", self._options.window)

    def _close_draft(self) -> None:
        self._board.close(self._draft)
        self._draft = None

    def _drop_waiting(self, first: int, why: str) -> None:
        self._board.drop(first, (drafted.step for drafted in self._waiting), why)
        self._waiting.clear()

    def _finish(self, finish: RunEnd, error: str | None = None) -> None:
        self._discard_target_steps()
        self._drop_waiting(self._board.position, "the run ended")
        self._board.finish(finish, error)
