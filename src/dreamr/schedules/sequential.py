"""Draft, judge, fall back: one thing at a time (SpecReason's loop, and FPSR's twin)."""

from __future__ import annotations

from collections.abc import Sequence

from dreamr.gate import Verdict
from dreamr.schedules.draft_end import CUT, DRAFT_END, is_draft_end
from dreamr.schedules.protocol import ScheduleConfig, StepDone
from dreamr.schedules.turns import Turns
from dreamr.steps import Ending, Step


class Sequential(Turns):
    """The oracle: nothing overlaps, so nothing can depend on timing.

    With the gate `ScoreGate` this is SpecReason (arXiv 2504.07891). Faithful: the draft writes a
    step, the target rates it, keeps it or writes the step anew, strictly in turns. Different: the
    draft is greedy unless it is told otherwise (paper: temperature 0.6, top-p 0.95); the final
    answer is the target's own unless `answer` is 'verified'; a step is whatever the models' own
    delimiter ends, and the draft's stream stays open while it is rated.

    The judge is at work on `_candidate`.
    """

    def __init__(self, options: ScheduleConfig) -> None:
        super().__init__(options)
        self._candidate: Step | None = None

    def _redraft(self) -> None:
        if self._board.draft_lost:
            self._fall_back()
        else:
            self._draft = self._board.open("draft", 1)

    def _drafted(self, done: StepDone) -> None:
        board, step = self._board, done.step
        if done.finish is not None:
            self._draft = None
        if is_draft_end(step, board.options.final_answer):
            board.discard(board.position, step, "draft", DRAFT_END)
            self._fall_back()
            return
        self._candidate = step
        if step.ending is Ending.CAP:
            self._decided([CUT])
        elif done.verdict is not None:
            self._decided([done.verdict])
        else:
            board.judge([step])

    def _draft_ended(self) -> None:
        self._fall_back()

    def _decided(self, verdicts: Sequence[Verdict]) -> None:
        board, step, verdict = self._board, self._candidate, verdicts[0]
        assert step is not None
        self._candidate = None
        if not verdict.accepted:
            board.reject(step, verdict)
            self._fall_back()
            return
        if (end := board.commit_drafted(step, verdict)) is not None:
            board.finish(end)
        elif self._draft is None:
            self._fall_back()
        else:
            board.grant(self._draft)

    def _pending(self) -> Sequence[Step]:
        return [] if self._candidate is None else [self._candidate]
