"""Fully parallel speculative reasoning (FPSR), after section 3 of the paper (arXiv 2605.28678).

    on each signal, until the run ends:
        decide on the step at the frontier:                                             (section 3)
            drafted, accepted by the gate: commit it, discard the target's step         (TBVM, CPN)
            drafted, rejected: discard the drafted steps after it, fall back       (early stopping)
            not drafted yet: commit the target's step, restart the draft           (clean fallback)
        start all idle work, concurrently:                                              (section 3)
            draft: the next steps, up to `window` undecided ones
            judge: all waiting steps from the frontier on, in one call
            target: its own step at the frontier

Work around the frontier, the end of the committed text:

    committed | waiting[0] waiting[1] ... | (step that the draft is writing)
              | target step               (the fallback)

A judge call grows while drafted steps complete; steps that miss one call are in the next. The
draft's end is appended to a call without a question about it: a local engine learns in the same
forward pass how many of its tokens the target would write too (`dreamr.engines.local`). When the
target then writes the end, its lane gets the draft's end as a guess.

Beyond the paper: after a rejection the draft does not wait for the target's step. If the judge call
showed how the target's step begins, the draft predicts the rest of it and continues after the
prediction:

    committed | prediction | waiting[1] waiting[2] ... | (step that the draft is writing)
              | target step

If the target then writes the same step, the draft is steps ahead; otherwise it restarts. With
`resamples` the draft writes other candidates for the rejected step instead (`Resampling`).
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
    """The target's step at the frontier; `step` is None if its stream ended without one."""

    step: Step | None
    finish: Finish | None


class Fpsr(OverlappedSchedule):
    """The paper's schedule, with the drafted text arriving as one stream.

    A complete drafted step at the frontier always gets its verdict. Otherwise the first model to
    complete the step at the frontier wins. With `deterministic` the run always waits for the draft,
    and the draft neither predicts nor resamples after a rejection.
    """

    def __init__(self, config: ScheduleConfig) -> None:
        super().__init__(config, config.final_answer)
        self._target: int | None = None  # the target's lane
        self._target_continues = False  # whether the target's lane stays open after each step
        self._target_step: _TargetStep | None = None
        self._predicting = False  # whether waiting[0] is a prediction of the target's step
        self._resampling: Resampling | None = None
        self._draft_end = ""  # text of the draft's end at the frontier, after it was discarded

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
            self._discard_waiting(state.position + 1, "followed a rejected step")
            self._close_draft()
            self._use_draft_after_rejection(step, verdict)

    def _commit_drafted(self, step: Step, verdict: Verdict) -> None:
        self._discard_target_step("drafted step accepted")
        self._close_target()
        resampled = self._end_resampling("resample accepted")
        if (end := self._state.commit_drafted(step, verdict)) is not None:
            self._finish(end)
        elif resampled:
            self._restart_draft()
        else:
            self._state.grant(self._draft)

    def _use_draft_after_rejection(self, rejected: Step, verdict: Verdict) -> None:
        """Resample or predict, unless the target's step is already complete."""
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
        self._end_resampling("target step completed first")
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
        """Check whether the draft predicted the target's step; discard its steps if not."""
        predicting, self._predicting = self._predicting, False
        if not (predicting and self._waiting):
            return False
        prediction = self._waiting[0].step
        predicted = written.step is not None and written.step.text == prediction.text
        if predicted:
            self._waiting.popleft()
            self._state.discard(self._state.position, prediction, "draft", PREDICTED)
        else:
            self._discard_waiting(self._state.position, "the target wrote a different step")
        return predicted

    # Start idle work

    def _start_work(self) -> None:
        if self._resampling is not None:
            self._resampling.judge()
        self._judge_waiting()
        self._start_target()

    def _restart_draft(self) -> None:
        self._draft_end = ""
        super()._restart_draft()

    def _judge_waiting(self) -> None:
        """Judge all waiting steps in one call, the draft's end included.

        Steps that already have a verdict are included too: the judge must read them to judge the
        steps after them.
        """
        if not self._predicting and any(not waiting.decided for waiting in self._waiting):
            self._state.judge(w.step for w in self._waiting if w.verdict is not CUT)

    def _start_target(self) -> None:
        """Open the fallback: the target's own step at the frontier."""
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
        """Stop resampling; return whether it was running."""
        resampling, self._resampling = self._resampling, None
        if resampling is not None:
            resampling.end(why)
        return resampling is not None

    def _discard_target_steps(self) -> None:
        self._end_resampling("run ended")
        self._discard_target_step("run ended")
