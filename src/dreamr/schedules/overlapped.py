"""Base class of the schedules in which the draft writes ahead of the decisions.

    committed | waiting[0] waiting[1] ... | (step that the draft is writing)

The base class has the loop, the draft's lane and its waiting steps. A subclass decides on the step
at the frontier and starts lanes and judge calls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dreamr.gate import CascadeGate, StepContext, Verdict
from dreamr.schedules.draft_end import RUN_ENDED, is_draft_end, judge_failed, refused
from dreamr.schedules.protocol import (
    Command,
    FinalAnswer,
    Judged,
    JudgeFailed,
    JudgeLate,
    LaneEnded,
    LaneFailed,
    RunEnd,
    ScheduleConfig,
    Signal,
    StepDone,
)
from dreamr.schedules.run_state import RunState
from dreamr.schedules.stages import Stop, TimeShort
from dreamr.steps import Finish, Step

_SHORT_WINDOW = 2  # steps that the draft writes ahead when the deadline is near
# Accepts steps without the target when the deadline is near.
CONFIDENT = CascadeGate(draft_confidence=0.5)


@dataclass(slots=True)
class WaitingStep:
    """A drafted step that waits for its decision.

    Attributes:
        step: The step.
        is_draft_end: Whether it ends the draft's reasoning while the target writes the end; it is
            then discarded without a verdict.
        verdict: The verdict, None until it is known.
        call: Number of the judge call about the step, None before there is one.
        late: Whether that call takes much longer than usual.
    """

    step: Step
    is_draft_end: bool = False
    verdict: Verdict | None = None
    call: int | None = None
    late: bool = False

    @property
    def decided(self) -> bool:
        """Whether the step can be decided now."""
        return self.is_draft_end or self.verdict is not None

    @property
    def rejected(self) -> bool:
        """Whether the verdict is known and rejects the step."""
        return self.verdict is not None and not self.verdict.accepted


class OverlappedSchedule(ABC):
    """A schedule that notes each signal, makes all possible decisions, then starts idle work."""

    def __init__(self, config: ScheduleConfig, final_answer: FinalAnswer) -> None:
        """Create the state of a run.

        Args:
            config: Options of the schedule.
            final_answer: Model that writes the end; with 'target' the draft's end is discarded.
        """
        self._config = config
        self._final_answer = final_answer
        self._state = RunState(config)
        self._draft: int | None = None  # the draft's lane
        self._waiting: deque[WaitingStep] = deque()
        self._withheld: tuple[int | None, int] = None, 0  # grants that a lane does not get

    def start(self) -> Sequence[Command]:
        """Start the draft and all work that does not wait for it."""
        self._restart_draft()
        self._advance()
        return self._state.take_commands()

    def handle(self, signal: Signal) -> Sequence[Command]:
        """Note a signal, decide, and start idle work."""
        if self._state.admit(signal):
            self._note(signal)
            self._advance()
        return self._state.take_commands()

    def _advance(self) -> None:
        """Make all possible decisions, then start idle work."""
        while not self._state.finished and self._decide_next():
            pass
        if not self._state.finished:
            self._start_work()

    @abstractmethod
    def _decide_next(self) -> bool:
        """Decide on the step at the frontier; return False if it must wait."""

    @abstractmethod
    def _start_work(self) -> None:
        """Open the lanes and judge calls that are due."""

    @abstractmethod
    def _on_target(self, lane: int, step: Step | None, finish: Finish | None) -> None:
        """Note a step of the target, or the end of its stream (`step` is then None)."""

    @abstractmethod
    def _discard_target_steps(self) -> None:
        """Discard the uncommitted steps of the target at the end of the run."""

    def _note(self, signal: Signal) -> None:
        match signal:
            case StepDone(lane) | LaneEnded(lane) | LaneFailed(lane) if lane == self._draft:
                self._on_draft(signal)
            case StepDone(lane, step, finish):
                self._on_target(lane, step, finish)
            case LaneEnded(lane, finish):
                self._on_target(lane, None, finish)
            case Judged(call, verdicts):
                self._on_verdicts(call, verdicts)
            case JudgeLate(call):
                for waiting in self._asked(call):
                    waiting.late = True
            case JudgeFailed(call, message, lost=False):
                self._state.warn(f"judge call failed: {message}")
                for waiting in self._asked(call)[:1]:  # those after it are judged again
                    waiting.verdict = judge_failed(message)
            case LaneFailed() | JudgeFailed():
                self._finish(*self._state.target_failed(signal))
            case Stop():
                self._finish("length")
            case TimeShort("window"):
                self._shrink_window()
            case TimeShort("confidence"):
                self._accept_confident()

    def _asked(self, call: int) -> list[WaitingStep]:
        """Return the waiting steps that a judge call is about."""
        return [waiting for waiting in self._waiting if waiting.call == call]

    def _on_verdicts(self, call: int, verdicts: Sequence[Verdict]) -> None:
        """Note the verdicts of a call.

        There may be fewer verdicts than steps, and the first ones may be about steps that were
        committed meanwhile.
        """
        judged = dict(enumerate(verdicts, self._state.first_judged(call)))
        for position, waiting in enumerate(self._waiting, self._state.position):
            if waiting.call == call:
                waiting.verdict = waiting.verdict or judged.get(position)

    def _on_draft(self, signal: StepDone | LaneEnded | LaneFailed) -> None:
        match signal:
            case StepDone(_, step, finish, verdict):
                rejected = refused(step, verdict)
                draft_end = is_draft_end(step, self._final_answer)
                self._waiting.append(WaitingStep(step, draft_end, rejected or verdict))
                if finish is not None:
                    self._draft = None
                elif rejected is not None:  # no step after it can be committed
                    self._close_draft()
            case LaneFailed():
                self._draft = None
                self._state.draft_failed(signal)
            case LaneEnded():
                self._draft = None

    def _restart_draft(self) -> None:
        """Close the draft's outdated lane and open a new one at the frontier."""
        self._close_draft()
        if not self._state.draft_lost:
            self._draft = self._state.open("draft", self._config.window)

    def _grant_draft(self) -> None:
        """Grant the draft one more step, unless its window has shrunk meanwhile."""
        lane, withheld = self._withheld
        if withheld and lane == self._draft:
            self._withheld = lane, withheld - 1
        else:
            self._state.grant(self._draft)

    def _shrink_window(self) -> None:
        window = min(self._config.window, _SHORT_WINDOW)
        self._withheld = self._draft, self._config.window - window
        self._config = replace(self._config, window=window)

    def _accept_confident(self) -> None:
        """Accept the waiting steps that the draft is confident of; they need no judge call."""
        for place, waiting in enumerate(self._waiting, self._state.position):
            if not waiting.decided:
                waiting.verdict = CONFIDENT.decide_without_target(StepContext(waiting.step, place))
        for call in {w.call for w in self._waiting if w.call is not None}:
            if all(waiting.decided for waiting in self._asked(call)):
                self._state.cancel_call(call)

    def _close_draft(self) -> None:
        self._state.close(self._draft)
        self._draft = None

    def _discard_waiting(self, first: int, why: str, keep: int = 0) -> None:
        """Discard waiting steps and cancel their judge calls.

        Args:
            first: Position of the first discarded step.
            why: Shown to users.
            keep: Number of waiting steps that are kept.
        """
        dropped = [self._waiting.pop() for _ in range(len(self._waiting) - keep)][::-1]
        self._state.discard_drafted(first, (waiting.step for waiting in dropped), why)
        for waiting in dropped:
            if not waiting.decided:
                self._state.cancel_call(waiting.call)

    def _finish(self, end: RunEnd, error: str | None = None) -> None:
        self._discard_target_steps()
        self._discard_waiting(self._state.position, RUN_ENDED)
        self._state.finish(end, error)
