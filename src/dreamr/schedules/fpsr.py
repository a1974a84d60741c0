"""Fully parallel speculative reasoning (FPSR), after section 3 of the paper (arXiv 2605.28678).

    until the run ends, at each signal:
        decide at the frontier:                                                         (section 3)
            drafted step, accepted by the gate: commit it, discard the target's         (TBVM, CPN)
            drafted step, rejected: discard all drafted after it, fall back      (early stopping)
            no drafted step: commit the target's own, restart the draft          (clean fallback)
        then start what is idle, side by side:                                          (section 3)
            draft: write on, up to `window` undecided steps
            judge: all waiting steps from the frontier on, in one call
            target: its own step at the frontier

What is in flight around the frontier, the end of the committed text:

    committed | waiting[0] waiting[1] ... | (the step that the draft is writing)
              | target step               (the fallback)

A judge call grows while steps complete; a step that comes too late for it is in the next call. The
draft's own end goes along at the end of a call: no question is asked about it, but an engine that
has read it knows in the same pass how far it would have written the same
(`dreamr.engines.local`). A draft's end that was in no call is a guess at the target's step.

Beyond the paper: after a rejection the draft need not idle until the target's own step is complete.
Where the judge call has shown how that step begins, the draft predicts the rest of it and writes on
after the prediction:

    committed | prediction | waiting[1] waiting[2] ... | (the step that the draft is writing)
              | target step

If the target then writes the same, the draft is steps ahead; if not, it restarts. With `resamples`
the draft writes other candidates for the rejected step instead (`Resampling`).
"""

from __future__ import annotations

from dataclasses import dataclass

from dreamr.gate import Verdict
from dreamr.schedules.draft_end import CUT, DRAFT_END, PREDICTED
from dreamr.schedules.overlapped import OverlappedSchedule, WaitingStep
from dreamr.schedules.protocol import ScheduleConfig, Signal
from dreamr.schedules.resampling import Resampling
from dreamr.steps import Finish, Step


@dataclass(frozen=True, slots=True)
class _TargetStep:
    """What the target wrote at the frontier; no step where its stream ended before one."""

    step: Step | None
    finish: Finish | None


class Fpsr(OverlappedSchedule):
    """The paper's schedule, with the drafted text arriving as one stream.

    The run waits for the draft as long as a complete drafted step has no verdict; otherwise the
    first to complete the step at the frontier wins (with `deterministic`, the run always waits for
    the draft, which predicts nothing and resamples nothing after a rejection).
    """

    def __init__(self, config: ScheduleConfig) -> None:
        super().__init__(config, config.final_answer)
        self._target: int | None = None  # the target's lane
        self._target_continues = False  # whether it goes on by itself after each step
        self._target_step: _TargetStep | None = None
        self._predicting = False  # whether waiting[0] is a prediction of the target's step
        self._resampling: Resampling | None = None
        self._draft_end = ""  # the draft's end at the frontier, once it is discarded

    def _note(self, signal: Signal) -> None:
        if self._resampling is not None and self._resampling.concerns(signal):
            self._resampling.note(signal)
        else:
            super()._note(signal)

    def _on_target(self, lane: int, step: Step | None, finish: Finish | None) -> None:
        self._target_step = _TargetStep(step, finish)
        if finish is not None:
            self._target = None

    # Decide at the frontier

    def _decide_next(self) -> bool:
        if self._waiting and not self._predicting:
            if not self._waiting[0].decided:
                return False
            self._decide_drafted(self._waiting.popleft())
            return True
        if self._resampling is not None and self._resampling.accepted is not None:
            self._commit_drafted(*self._resampling.accepted)
            return True
        waits_for_draft = self._config.deterministic and self._draft is not None
        if self._target_step is not None and not waits_for_draft:
            self._commit_target_step(self._target_step)
            return True
        return False

    def _decide_drafted(self, waiting: WaitingStep) -> None:
        state, step, verdict = self._state, waiting.step, waiting.verdict
        if waiting.is_draft_end or verdict is None:
            state.discard(state.position, step, "draft", DRAFT_END)
            self._draft_end = step.text
        elif verdict.accepted:
            self._commit_drafted(step, verdict)
        else:
            state.reject(step, verdict)
            self._discard_waiting(state.position + 1, "it followed a rejected step")
            self._close_draft()
            self._use_draft_after_rejection(step, verdict)

    def _commit_drafted(self, step: Step, verdict: Verdict) -> None:
        self._discard_target_step("the draft's step was accepted")
        self._close_target()
        resampled = self._end_resampling("another try was accepted")
        if (end := self._state.commit_drafted(step, verdict)) is not None:
            self._finish(end)
        elif resampled:
            self._restart_draft()
        else:
            self._state.grant(self._draft)

    def _use_draft_after_rejection(self, rejected: Step, verdict: Verdict) -> None:
        """Resample or predict, unless the target's own step is there already."""
        config, state = self._config, self._state
        if self._target_step is not None or state.draft_lost or config.deterministic:
            return
        if config.resamples:
            self._resampling = Resampling(state, config.resamples, rejected)
        elif begun := verdict.evidence.target_prefix if verdict.evidence is not None else "":
            self._draft = state.open("draft", config.window, begun=begun)
            self._predicting = True

    def _commit_target_step(self, written: _TargetStep) -> None:
        self._target_step = None
        self._end_resampling("the target was first")
        predicted = self._check_prediction(written)
        if (end := self._state.commit_unjudged(written.step, written.finish)) is not None:
            self._finish(end)
            return
        if not self._target_continues:
            self._close_target()
        if predicted:
            self._state.grant(self._draft)
        else:
            self._restart_draft()

    def _check_prediction(self, written: _TargetStep) -> bool:
        """Whether the draft predicted the target's step, so that the steps after it stay."""
        predicting, self._predicting = self._predicting, False
        if not (predicting and self._waiting):
            return False
        prediction = self._waiting[0].step
        predicted = written.step is not None and written.step.text == prediction.text
        if predicted:
            self._waiting.popleft()
            self._state.discard(self._state.position, prediction, "draft", PREDICTED)
        else:
            why = "the target wrote another step before it"
            self._discard_waiting(self._state.position, why)
        return predicted

    # Start what is idle

    def _start_work(self) -> None:
        if self._resampling is not None:
            self._resampling.judge()
        self._judge_waiting()
        self._start_target()

    def _restart_draft(self) -> None:
        self._draft_end = ""
        super()._restart_draft()

    def _judge_waiting(self) -> None:
        """Judge all complete waiting steps in one call, and the draft's end after them.

        Steps that need no verdict are included: the judge has to read them to judge what follows.
        """
        if not self._predicting and any(not waiting.decided for waiting in self._waiting):
            self._state.judge(w.step for w in self._waiting if w.verdict is not CUT)

    def _start_target(self) -> None:
        """Let the target write its own step at the frontier: the fallback."""
        if self._target is not None or self._target_step is not None:
            return
        needed = self._predicting or (self._draft is None and not self._waiting)
        wanted = {"eager": True, "idle": not self._waiting, "on-reject": False}
        if needed or wanted[self._config.fallback]:
            self._target_continues = needed and self._state.draft_lost
            credit = self._config.max_steps if self._target_continues else 1
            self._target = self._state.open("target", credit, guess=self._draft_end)

    # Stop and discard

    def _close_target(self) -> None:
        self._state.close(self._target)
        self._target = None

    def _discard_target_step(self, why: str) -> None:
        if self._target_step is not None and self._target_step.step is not None:
            self._state.discard(self._state.position, self._target_step.step, "target", why)
        self._target_step = None

    def _end_resampling(self, why: str) -> bool:
        """Whether there was any."""
        resampling, self._resampling = self._resampling, None
        if resampling is not None:
            resampling.end(why)
        return resampling is not None

    def _discard_target_steps(self) -> None:
        self._end_resampling("the run ended")
        self._discard_target_step("the run ended")
