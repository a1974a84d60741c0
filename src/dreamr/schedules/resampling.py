"""Resampling: further candidates for a rejected step, while the target writes its own.

    committed | rejected
              | candidate 1, candidate 2, ...  (each one step of the draft)
              | target step

Candidates are judged one at a time, or side by side over servers that serve judge calls
independently (`judge_batch`). The first candidate that the gate accepts is committed and the
target's lane is closed. The gate requires a higher score of each further candidate
(`StepContext.resamples`). Resampling never delays the target: if its own step is complete before a
candidate is accepted, that step is committed.
"""

from __future__ import annotations

from collections import deque

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

_DUPLICATE = "same text as an earlier candidate"


class Resampling:
    """The lanes and judge calls of the candidates for one rejected step.

    Attributes:
        accepted: The first accepted candidate with its verdict, None until there is one.
    """

    def __init__(self, state: RunState, resamples: int, rejected: Step) -> None:
        """Open a lane for each candidate.

        Args:
            state: State of the run.
            resamples: Number of candidates.
            rejected: The step that the gate rejected.
        """
        self.accepted: tuple[Step, Verdict] | None = None
        self._state = state
        self._lanes = {state.open("draft", 1, resample=n): n for n in range(1, resamples + 1)}
        self._ready: deque[tuple[Step, int]] = deque()
        self._judged: dict[int, tuple[Step, int]] = {}  # candidates by their open judge call
        self._seen = {rejected.text}

    def concerns(self, signal: Signal) -> bool:
        """Check whether the signal is from a candidate's lane or judge call."""
        match signal:
            case StepDone(lane) | LaneEnded(lane) | LaneFailed(lane):
                return lane in self._lanes
            case Judged(call) | JudgeFailed(call, lost=False):
                return call in self._judged
        return False

    def note(self, signal: Signal) -> None:
        """Note a signal for which `concerns` is true."""
        match signal:
            case StepDone(lane, step, finish):
                number = self._lanes.pop(lane)
                if finish is None:
                    self._state.close(lane)
                self._on_candidate(step, number)
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
        alone = self._state.config.judge_batch == "step"
        while self._ready and (alone or not self._state.judging):
            step, number = self._ready.popleft()
            call = self._state.judge_alone(step, (), resamples=number)
            self._judged[call] = step, number

    def end(self, why: str) -> None:
        """Close the lanes and the judge call, and discard the undecided candidates."""
        state = self._state
        for lane in self._lanes:
            state.close(lane)
        for call in self._judged:
            state.cancel_call(call)
        for step, _ in (*self._judged.values(), *self._ready):
            state.discard(state.position, step, "draft", why)
        self._lanes, self._judged = {}, {}
        self._ready.clear()

    def _on_candidate(self, step: Step, number: int) -> None:
        state = self._state
        if step.ending is Ending.CAP:
            why = CUT.reason
        elif is_draft_end(step, state.config.final_answer):
            why = DRAFT_END
        elif step.text in self._seen:
            why = _DUPLICATE
        else:
            self._seen.add(step.text)
            self._ready.append((step, number))
            return
        state.discard(state.position, step, "draft", why)

    def _on_verdict(self, call: int, verdict: Verdict) -> None:
        step, _ = self._judged.pop(call)
        if verdict.accepted:
            self.accepted = step, verdict
        else:
            self._state.reject(step, verdict)
