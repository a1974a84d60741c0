"""Sequential: draft, judge and fall back, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from dreamr.gate import Verdict
from dreamr.schedules.draft_end import CUT, DRAFT_END, is_draft_end
from dreamr.schedules.protocol import ScheduleConfig, StepDone
from dreamr.schedules.turn_based import TurnBasedSchedule
from dreamr.steps import Ending, Step


class Sequential(TurnBasedSchedule):
    """Draft, judge and fall back without overlap, so that the text does not depend on timing.

    It is the reference for FPSR: with `deterministic`, both commit the same steps from the same
    random draws.

    With the gate `ScoreGate` this is SpecReason (arXiv 2504.07891). As in the paper: the draft
    writes a step, then the target rates it and either keeps it or rewrites it.

    Different from the paper:

    - The draft is greedy by default (paper: temperature 0.6, top-p 0.95).
    - The target writes the final answer unless `final_answer` is 'draft'.
    - Steps end at the models' own delimiter.
    - The draft's stream stays open while its step is rated.
    """

    def __init__(self, config: ScheduleConfig) -> None:
        super().__init__(config)
        self._candidate: Step | None = None  # drafted step in the open judge call

    def _start_draft(self) -> None:
        if self._state.draft_lost:
            self._fall_back()
        else:
            self._draft = self._state.open("draft", 1)

    def _on_drafted(self, done: StepDone) -> None:
        state, step = self._state, done.step
        if done.finish is not None:
            self._draft = None
        if is_draft_end(step, self._config.final_answer):
            state.discard(state.position, step, "draft", DRAFT_END)
            self._fall_back()
            return
        self._candidate = step
        if step.ending is Ending.CAP:
            self._on_verdicts([CUT])
        elif done.verdict is not None:
            self._on_verdicts([done.verdict])
        else:
            state.judge([step])

    def _on_draft_end(self) -> None:
        self._fall_back()

    def _on_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        state, step, verdict = self._state, self._candidate, verdicts[0]
        assert step is not None
        self._candidate = None
        if not verdict.accepted:
            state.reject(step, verdict)
            self._fall_back()
            return
        if (end := state.commit_drafted(step, verdict)) is not None:
            state.finish(end)
        elif self._draft is None:
            self._fall_back()
        else:
            state.grant(self._draft)

    def _undecided(self) -> Sequence[Step]:
        return [] if self._candidate is None else [self._candidate]
