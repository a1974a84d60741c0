"""PARSE: draft to the end, then commit the longest valid prefix, judged in one forward pass."""

from __future__ import annotations

from collections.abc import Sequence

from dreamr.gate import Verdict
from dreamr.schedules.draft_end import DRAFT_END, RUN_ENDED, is_draft_end, judge_failed, refused
from dreamr.schedules.protocol import ScheduleConfig, StepDone
from dreamr.schedules.turn_based import TurnBasedSchedule
from dreamr.steps import Step


class Parse(TurnBasedSchedule):
    """PARSE (arXiv 2605.04263).

    As in the paper: the draft writes to its end, the target judges every prefix of the draft in one
    masked forward pass, and the longest valid prefix is committed.

    Different from the paper:

    - The gate decides whether a prefix is valid, by the ratio of the two labels.
    - If the valid prefix is not the whole draft, the target writes one step and the draft rewrites
      the rest. In the paper the target writes the rest.
    - The target writes the final answer unless `final_answer` is 'draft', so that accuracy is
      comparable with the other methods.
    """

    def __init__(self, config: ScheduleConfig) -> None:
        super().__init__(config)
        self._credit = 0
        self._waiting: list[Step] = []
        self._known: list[Verdict | None] = []  # verdicts on them without the target

    def _start_draft(self) -> None:
        if self._state.draft_lost:
            self._fall_back()
        else:
            self._credit = self._config.max_steps - self._state.position
            self._draft = self._state.open("draft", self._credit)

    def _on_drafted(self, done: StepDone) -> None:
        self._waiting.append(done.step)
        rejected = refused(done.step, done.verdict)
        self._known.append(rejected or done.verdict)
        complete = done.finish is not None or len(self._waiting) == self._credit
        if complete or rejected is not None:
            self._on_draft_end()

    def _on_draft_end(self) -> None:
        """Judge the draft, which ended or reached a step after which none can be committed."""
        self._state.close(self._draft)
        self._draft = None
        open_ = zip(self._waiting, self._known, strict=True)
        if any(verdict is None and not self._is_end(step) for step, verdict in open_):
            self._state.judge(self._waiting)
        else:
            self._on_verdicts([])

    def _on_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Commit the steps before the first one that is rejected, cut or the draft's end."""
        waiting, self._waiting = self._waiting, []
        known, self._known = self._known, []
        for place, step in enumerate(waiting):
            if self._is_end(step):
                self._state.discard(self._state.position, step, "draft", DRAFT_END)
                break
            verdict = known[place] or verdicts[place]
            if not verdict.accepted:
                self._state.reject(step, verdict)
                rest, first = waiting[place + 1 :], self._state.position + 1
                self._state.discard_drafted(first, rest, "followed a rejected step")
                break
            if (end := self._state.commit_drafted(step, verdict)) is not None:
                self._state.discard_drafted(self._state.position, waiting[place + 1 :], RUN_ENDED)
                self._state.finish(end)
                return
        self._fall_back()

    def _on_judge_failure(self, message: str) -> None:
        self._state.warn(f"judge call failed: {message}")
        self._on_verdicts([judge_failed(message)] * len(self._waiting))

    def _is_end(self, step: Step) -> bool:
        return is_draft_end(step, self._config.final_answer)

    def _undecided(self) -> Sequence[Step]:
        return self._waiting
