"""Resampling: further candidates for a rejected step, while the target writes its own.

    committed | rejected
              | candidate 1, candidate 2, ...  (each one step of the draft)
              | target step

Candidates are judged one at a time, or side by side over servers that serve judge calls
independently (`ScheduleConfig.independent`). There, the draft also writes on after each candidate
while it is judged:

    committed | (step that may be rejected)
              | candidate 1 | (step that the draft is writing)
              | target step

The first candidate that the gate accepts is committed and the target's lane is closed. The gate
requires a higher score of each further candidate (`StepContext.resamples`). Resampling never delays
the target: if its own step is complete before a candidate is accepted, that step is committed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from dreamr.gate import Verdict
from dreamr.schedules.draft_end import (
    DRAFT_END,
    ends_reasoning,
    is_draft_end,
    judge_failed,
    refused,
)
from dreamr.schedules.protocol import (
    Judged,
    JudgeFailed,
    LaneEnded,
    LaneFailed,
    Signal,
    StepDone,
)
from dreamr.schedules.run_state import RunState
from dreamr.steps import Step

_DUPLICATE = "same text as an earlier candidate"
_LATER = "an earlier candidate was accepted"
_FOLLOWED = "followed a candidate that was not committed"


@dataclass(slots=True)
class DraftAfter:
    """The draft's work after a candidate that is not decided yet.

    Attributes:
        lane: Number of its lane.
        signals: What the lane has signaled.
    """

    lane: int
    signals: list[StepDone | LaneEnded | LaneFailed] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted candidate.

    Attributes:
        step: The candidate.
        verdict: Its verdict.
        after: The draft's work after it, None if there is none.
    """

    step: Step
    verdict: Verdict
    after: DraftAfter | None


class Resampling:
    """The lanes and judge calls of the candidates for one step."""

    def __init__(self, state: RunState, resamples: int, first: Step) -> None:
        """Open a lane for each candidate.

        Args:
            state: State of the run.
            resamples: Number of candidates.
            first: The step that the gate has rejected, or may reject.
        """
        self._accepted: Accepted | None = None  # the first one
        self._state = state
        self._side_by_side = state.config.independent
        self._after: dict[int, DraftAfter] = {}  # by the number of the candidate
        self._lanes = {state.open("draft", 1, resample=n): n for n in range(1, resamples + 1)}
        self._ready: deque[tuple[Step, int]] = deque()
        self._judged: dict[int, tuple[Step, int]] = {}  # candidates by their open judge call
        self._seen = {first.text}

    def concerns(self, signal: Signal) -> bool:
        """Check whether the signal is from a candidate's lane or judge call."""
        match signal:
            case StepDone(lane) | LaneEnded(lane) | LaneFailed(lane):
                return lane in self._lanes or self._draft_after(lane) is not None
            case Judged(call) | JudgeFailed(call, lost=False):
                return call in self._judged
        return False

    def note(self, signal: Signal) -> None:
        """Note a signal for which `concerns` is true."""
        match signal:
            case StepDone(lane) | LaneEnded(lane) | LaneFailed(lane) if lane not in self._lanes:
                after = self._draft_after(lane)
                assert after is not None  # `concerns` has found it
                after.signals.append(signal)
            case StepDone(lane, step, finish, verdict):
                number = self._lanes.pop(lane)
                if finish is None:
                    self._state.close(lane)
                self._on_candidate(step, number, refused(step, verdict) or verdict)
            case LaneEnded(lane):
                del self._lanes[lane]
            case LaneFailed(lane):
                del self._lanes[lane]
                self._state.draft_failed(signal)
            case Judged(call, verdicts):
                self._on_verdict(call, verdicts[0])
            case JudgeFailed(call, message):
                self._state.warn(f"judge call failed: {message}")
                self._on_verdict(call, judge_failed(message))

    def judge(self) -> None:
        """Judge the complete candidates: all of them, or the next if no judge call is open."""
        while self._ready and (self._side_by_side or not self._state.judging):
            step, number = self._ready.popleft()
            call = self._state.judge_alone(step, (), resamples=number)
            self._judged[call] = step, number
            if self._side_by_side and not ends_reasoning(step):
                lane = self._state.open("draft", self._state.config.window, [step])
                self._after[number] = DraftAfter(lane)

    def take(self) -> Accepted | None:
        """Return the accepted candidate, to be committed; `end` no longer discards it.

        None until there is one.
        """
        accepted, self._accepted = self._accepted, None
        return accepted

    def end(self, why: str) -> None:
        """Close the lanes and judge calls, and discard the candidates that are left."""
        state = self._state
        if (accepted := self._accepted) is not None:
            state.discard(state.position, accepted.step, "draft", why)
            self._drop(accepted.after)
        for after in self._after.values():
            self._drop(after)
        for lane in self._lanes:
            state.close(lane)
        for call in self._judged:
            state.cancel_call(call)
        for step, _ in (*self._judged.values(), *self._ready):
            state.discard(state.position, step, "draft", why)
        self._lanes, self._judged, self._after = {}, {}, {}
        self._ready.clear()

    def _on_candidate(self, step: Step, number: int, verdict: Verdict | None) -> None:
        """Note a candidate, and the verdict on it if the gate decides without the target."""
        state = self._state
        if verdict is not None and not verdict.accepted:
            why = verdict.reason
        elif is_draft_end(step, state.config.final_answer):
            why = DRAFT_END
        elif step.text in self._seen:
            why = _DUPLICATE
        elif verdict is not None and self._accepted is not None:
            why = _LATER
        else:
            self._seen.add(step.text)
            if verdict is None:
                self._ready.append((step, number))
            else:
                self._accepted = Accepted(step, verdict, None)
            return
        state.discard(state.position, step, "draft", why)

    def _on_verdict(self, call: int, verdict: Verdict) -> None:
        step, number = self._judged.pop(call)
        after = self._after.pop(number, None)
        if verdict.accepted and self._accepted is None:
            self._accepted = Accepted(step, verdict, after)
            return
        if verdict.accepted:
            self._state.discard(self._state.position, step, "draft", _LATER)
        else:
            self._state.reject(step, verdict)
        self._drop(after)

    def _draft_after(self, lane: int) -> DraftAfter | None:
        accepted = None if self._accepted is None else self._accepted.after
        found = (accepted, *self._after.values())
        return next((after for after in found if after is not None and after.lane == lane), None)

    def _drop(self, after: DraftAfter | None) -> None:
        """Close the lane after a candidate and discard its steps."""
        if after is None:
            return
        self._state.close(after.lane)
        steps = [signal.step for signal in after.signals if isinstance(signal, StepDone)]
        self._state.discard_drafted(self._state.position + 1, steps, _FOLLOWED)
