"""The whole draft first, then the longest valid prefix of it in one pass."""

from __future__ import annotations

from collections.abc import Sequence

from dreamr.gate import Verdict
from dreamr.schedules.draft_end import CUT, DRAFT_END, is_draft_end
from dreamr.schedules.protocol import ScheduleConfig, StepDone
from dreamr.schedules.turns import Turns
from dreamr.steps import Ending, Step


class Parse(Turns):
    """PARSE (arXiv 2605.04263).

    Faithful: the draft writes to its end; the target judges every prefix of that in one forward
    pass under a mask, and the longest valid prefix is kept. Different: what a valid prefix is, the
    gate of this project decides (the ratio of the two words); behind a prefix that is not the
    whole, the target writes one step and the draft then writes the rest anew, where the paper has
    the target go on; and the final answer is the target's own unless `answer` is 'verified', so
    that it is as right as the other methods are.
    """

    def __init__(self, options: ScheduleConfig) -> None:
        super().__init__(options)
        self._credit = 0
        self._waiting: list[Step] = []

    def _redraft(self) -> None:
        if self._board.draft_lost:
            self._fall_back()
        else:
            self._credit = self._board.options.max_steps - self._board.position
            self._draft = self._board.open("draft", self._credit)

    def _drafted(self, done: StepDone) -> None:
        self._waiting.append(done.step)
        cut = done.step.ending is Ending.CAP
        if done.finish is not None or cut or len(self._waiting) == self._credit:
            self._draft_ended()

    def _draft_ended(self) -> None:
        """The draft has come to an end, or to a step behind which nothing can be kept."""
        self._board.close(self._draft)
        self._draft = None
        if self._waiting and not self._last_words(self._waiting[0]):
            self._board.judge(self._waiting)
        else:
            self._decided([])

    def _last_words(self, step: Step) -> bool:
        return step.ending is Ending.CAP or is_draft_end(step, self._board.options.final_answer)

    def _decided(self, verdicts: Sequence[Verdict]) -> None:
        """Keep the steps up to the first that is refused, or that no verdict can help."""
        waiting, self._waiting = self._waiting, []
        for place, step in enumerate(waiting):
            if is_draft_end(step, self._board.options.final_answer):
                self._board.discard(self._board.position, step, "draft", DRAFT_END)
                break
            verdict = CUT if step.ending is Ending.CAP else verdicts[place]
            if not verdict.accepted:
                self._board.reject(step, verdict)
                rest, first = waiting[place + 1 :], self._board.position + 1
                self._board.drop(first, rest, "it followed a rejected step")
                break
            if (end := self._board.commit_drafted(step, verdict)) is not None:
                self._board.drop(self._board.position, waiting[place + 1 :], "the run ended")
                self._board.finish(end)
                return
        self._fall_back()

    def _pending(self) -> Sequence[Step]:
        return self._waiting
