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
`resamples` the draft writes other candidates for the rejected step instead (`Resampling`); over a
server, it already begins while a step in doubt is judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from dreamr.gate import Verdict
from dreamr.schedules.acceptance import Acceptance
from dreamr.schedules.draft_end import DRAFT_END, PREDICTED, RUN_ENDED
from dreamr.schedules.overlapped import OverlappedSchedule, WaitingStep
from dreamr.schedules.protocol import Command, ScheduleConfig, Signal
from dreamr.schedules.resampling import Accepted, Resampling
from dreamr.steps import Finish, Step

# Chance of acceptance below which 'auto' opens the fallback beside the judge call.
_FALLBACK_CHANCE = 0.6
# Chance that a step is needed, below which its judge call waits for earlier verdicts.
_JUDGE_CHANCE = 0.5
_WARMED = "written to compute the prompt"


@dataclass(frozen=True, slots=True)
class _TargetStep:
    """A complete step of the target; `step` is None if its stream ended without one."""

    step: Step | None
    finish: Finish | None


@dataclass(slots=True)
class _TargetWork:
    """The target's work on its own step at one position.

    Attributes:
        lane: Number of its lane; None once the stream has ended.
        written: The complete step, None before.
        continues: Whether the lane stays open after each step.
    """

    lane: int | None
    written: _TargetStep | None = None
    continues: bool = False


class Fpsr(OverlappedSchedule):
    """The paper's schedule, with the drafted text arriving as one stream.

    A complete drafted step at the frontier always gets its verdict. Otherwise the first model to
    complete the step at the frontier wins. With `deterministic` the run always waits for the draft,
    and the draft neither predicts nor resamples after a rejection.
    """

    def __init__(self, config: ScheduleConfig) -> None:
        super().__init__(config, config.final_answer)
        self._targets: dict[int, _TargetWork] = {}  # by position, from the frontier on
        self._predicting = False  # whether waiting[0] is a prediction of the target's step
        self._resampling: Resampling | None = None
        self._draft_end = ""  # text of the draft's end at the frontier, after it was discarded
        self._acceptance = Acceptance()
        self._warming: int | None = None  # lane that has the target compute the prompt

    def start(self) -> Sequence[Command]:
        """Start the draft; over a server with `auto`, have the target compute the prompt too."""
        config = self._config
        if config.prefill and config.independent and config.fallback == "auto":
            self._warming = self._state.open("target", 1, max_tokens=1)
        return super().start()

    def _note(self, signal: Signal) -> None:
        if self._resampling is not None and self._resampling.concerns(signal):
            self._resampling.note(signal)
        else:
            super()._note(signal)

    def _on_target(self, lane: int, step: Step | None, finish: Finish | None) -> None:
        if lane == self._warming:
            self._warming = None
            if step is not None:
                self._state.discard(0, step, "target", _WARMED)
            return
        work = next(work for work in self._targets.values() if work.lane == lane)
        work.written = _TargetStep(step, finish)
        if finish is not None:
            work.lane = None

    @property
    def _target_step(self) -> _TargetStep | None:
        """The target's complete step at the frontier."""
        work = self._targets.get(self._state.position)
        return None if work is None else work.written

    # Decide at the frontier

    def _decide_next(self) -> bool:
        if self._waiting and not self._predicting:
            if not self._waiting[0].decided:
                return False
            self._decide_drafted(self._waiting.popleft())
            return True
        candidate = None if self._resampling is None else self._resampling.take()
        if candidate is not None:
            self._commit_resample(candidate)
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
            self._acceptance.note(step, accepted=True)
            self._commit_drafted(step, verdict)
        else:
            self._acceptance.note(step, accepted=False)
            state.reject(step, verdict)
            self._discard_waiting(state.position + 1, "followed a rejected step")
            self._close_draft()
            self._use_draft_after_rejection(step, verdict)

    def _commit_drafted(self, step: Step, verdict: Verdict) -> None:
        self._drop_target(self._state.position, "drafted step accepted")
        self._end_resampling("drafted step accepted")
        if (end := self._state.commit_drafted(step, verdict)) is not None:
            self._finish(end)
        else:
            self._grant_draft()

    def _commit_resample(self, accepted: Accepted) -> None:
        """Commit a candidate; the draft goes on after it."""
        self._drop_target(self._state.position, "drafted step accepted")
        self._end_resampling("resample accepted")
        end = self._state.commit_drafted(accepted.step, accepted.verdict)
        if (after := accepted.after) is not None:
            self._draft, self._draft_end = after.lane, ""
            for signal in after.signals:
                self._on_draft(signal)
        if end is not None:
            self._finish(end)
        elif after is None:
            self._restart_draft()

    def _use_draft_after_rejection(self, rejected: Step, verdict: Verdict) -> None:
        """Resample or predict, unless the target's step is already complete."""
        config, state = self._config, self._state
        if self._target_step is not None or state.draft_lost or config.deterministic:
            return
        if config.resamples:
            if self._resampling is None:
                self._resampling = Resampling(state, config.resamples, rejected)
        elif begun := verdict.evidence.target_prefix if verdict.evidence is not None else "":
            self._draft = state.open("draft", config.window, begun=begun)
            self._predicting = True

    def _commit_target_step(self, written: _TargetStep) -> None:
        work = self._targets.pop(self._state.position)
        self._end_resampling("target step completed first")
        predicted = self._check_prediction(written)
        if (end := self._state.commit_unjudged(written.step, written.finish)) is not None:
            self._finish(end)
            return
        if work.continues:
            self._targets[self._state.position] = _TargetWork(work.lane, continues=True)
        else:
            self._state.close(work.lane)
        if predicted:
            self._grant_draft()
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
        if self._config.resamples and self._resampling is None and self._in_doubt():
            first = self._waiting[0].step
            self._resampling = Resampling(self._state, self._config.resamples, first)
        self._start_target()

    def _in_doubt(self) -> bool:
        """Return whether the judge call of the step at the frontier is likely to reject it."""
        if not self._config.independent or self._predicting or self._state.draft_lost:
            return False
        asked = self._waiting and not self._waiting[0].decided
        return bool(asked) and self._acceptance.chance(self._waiting[0].step) < _FALLBACK_CHANCE

    def _restart_draft(self) -> None:
        self._draft_end = ""
        super()._restart_draft()

    def _judge_waiting(self) -> None:
        """Judge the waiting steps before a rejected one, the draft's end included.

        In one call, steps that already have a verdict are included too: the judge must read them to
        judge the steps after them.
        """
        if self._predicting:
            return
        waiting = list(takewhile(lambda waiting: not waiting.rejected, self._waiting))
        if self._config.judge_batch == "step":
            self._judge_each(waiting)
        elif any(not one.decided for one in waiting):
            call = self._state.judge(one.step for one in waiting)
            for one in waiting:
                one.call = call

    def _judge_each(self, waiting: Sequence[WaitingStep]) -> None:
        """Judge each step in a call of its own, as long as it is likely to be needed."""
        needed = 1.0  # probability that all steps before are accepted
        for number, one in enumerate(waiting):
            if not one.decided:
                if one.call is None and needed >= _JUDGE_CHANCE:
                    before = (earlier.step for earlier in waiting[:number])
                    one.call = self._state.judge_alone(one.step, before)
                needed *= self._acceptance.chance(one.step)

    def _start_target(self) -> None:
        """Open the fallback: the target's own step at the frontier."""
        needed = self._predicting or (self._draft is None and not self._waiting)
        if needed or self._speculate():
            self._open_target(0, self._draft_end, continues=needed and self._state.draft_lost)
        if self._config.independent and not self._predicting:
            self._start_target_ahead()

    def _speculate(self) -> bool:
        """Return whether the target writes beside the draft or its judge call."""
        match self._config.fallback:
            case "eager":
                return True
            case "idle":
                return not self._waiting
            case "auto" if not self._config.independent:
                return True
            case "auto":
                first = self._waiting[0] if self._waiting else None
                if first is not None and first.late:
                    return True
                chance = self._acceptance.chance(first.step if first is not None else None)
                return chance < _FALLBACK_CHANCE
            case "on-reject":
                return False

    def _start_target_ahead(self) -> None:
        """Open the target's step after all drafted steps that may still be committed.

        The steps before the draft's end, or before a rejected step, are not decided yet. If they
        are accepted, the target's step is needed and already begun.
        """
        for number, waiting in enumerate(self._waiting):
            if waiting.rejected:
                self._close_draft()
                first = self._state.position + number + 1
                self._discard_waiting(first, "followed a rejected step", keep=number + 1)
            if waiting.rejected or waiting.is_draft_end:
                self._open_target(number, waiting.step.text if waiting.is_draft_end else "")
                return

    def _open_target(self, after: int, guess: str, *, continues: bool = False) -> None:
        """Open a lane of the target after some of the waiting steps, if it is not open yet."""
        position = self._state.position + after
        if position not in self._targets:
            drafted = [waiting.step for waiting in list(self._waiting)[:after]]
            credit = self._config.max_steps if continues else 1
            lane = self._state.open("target", credit, drafted, guess=guess)
            self._targets[position] = _TargetWork(lane, continues=continues)

    # Stop and discard

    def _drop_target(self, position: int, why: str) -> None:
        """Close the target's work at a position, and discard its step if it is complete."""
        if (work := self._targets.pop(position, None)) is None:
            return
        if work.written is not None and work.written.step is not None:
            self._state.discard(position, work.written.step, "target", why)
        self._state.close(work.lane)

    def _discard_waiting(self, first: int, why: str, keep: int = 0) -> None:
        super()._discard_waiting(first, why, keep)
        for position in [position for position in self._targets if position > first - 1]:
            self._drop_target(position, why)

    def _end_resampling(self, why: str) -> None:
        resampling, self._resampling = self._resampling, None
        if resampling is not None:
            resampling.end(why)

    def _discard_target_steps(self) -> None:
        self._state.close(self._warming)
        self._end_resampling(RUN_ENDED)
        for position in list(self._targets):
            self._drop_target(position, RUN_ENDED)
