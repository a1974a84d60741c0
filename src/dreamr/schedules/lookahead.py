"""The target's own step at every drafted prefix, and whether the two mean the same.

    committed | waiting[0] | waiting[1] | (the step that the draft is writing)
              | own[0]     | own[1]     | own[2] ...   each behind the drafted steps before it

A drafted step is kept where the target's own step in its place means the same. All of the target's
steps are written side by side, each to its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from dreamr.gate import Verdict
from dreamr.schedules.ahead import Ahead, Drafted
from dreamr.schedules.draft_end import DRAFT_END, PREDICTED
from dreamr.schedules.protocol import ScheduleConfig
from dreamr.steps import Ending, Finish, Step

_SAME = Verdict(True, 1.0, 1.0, PREDICTED, kind="equivalence")
_OTHER = Verdict(False, 0.0, 1.0, "the target went another way", kind="equivalence")

_Own: TypeAlias = tuple[Step | None, Finish | None]


class Lookahead(Ahead):
    """Lookahead Reasoning (arXiv 2506.19830), asynchronous, width 1.

    Faithful: the draft runs ahead by up to `window` steps (paper: a depth of 4 to 6); for each
    drafted prefix the target writes its own next step, all at once, each to its end; equal text,
    blanks and case aside, is the same without asking, else a judge says whether the two steps mean
    and compute the same; at the first that differ the target's step is kept and all below is
    dropped; cut steps are never kept; the draft's end counts only through the target's own step.
    Different: the judge is the target itself, asked in the conversation, where the paper has a
    model of 7 B beside it; steps that are ready together are compared in one pass; where the
    target's step is there before the draft's, it is kept at once instead of waiting.
    """

    def __init__(self, options: ScheduleConfig) -> None:
        super().__init__(options, "target")  # the target's own end decides, whoever is to answer
        self._lanes: dict[int, int] = {}  # the target's lanes by their position
        self._own: dict[int, _Own] = {}  # what came of them

    def _on_target(self, lane: int, step: Step | None, finish: Finish | None) -> None:
        position = next(at for at, other in self._lanes.items() if other == lane)
        self._board.close(self._lanes.pop(position))
        self._own[position] = step, finish

    def _work(self) -> None:
        self._judge()
        self._look_ahead()

    def _decide_next(self) -> bool:
        self._compare()
        own = self._own.get(self._board.position)
        if own is None:
            return False
        if not self._waiting:
            if self._options.deterministic and self._draft is not None:
                return False
            self._commit_own(own)
            return True
        if not self._waiting[0].decided:
            return False
        self._settle(self._waiting.popleft(), own)
        return True

    def _pairs(self) -> Iterator[tuple[Drafted, _Own]]:
        """Drafted steps and the target's in their places, from the frontier on."""
        for position, drafted in enumerate(self._waiting, self._board.position):
            if (own := self._own.get(position)) is None:
                return
            yield drafted, own

    def _compare(self) -> None:
        """Decide where nobody need be asked."""
        for drafted, (own, _) in self._pairs():
            if not drafted.decided:
                if own is None or own.ending is not Ending.DELIMITER:
                    drafted.verdict = _OTHER
                elif own.plain == drafted.step.plain:
                    drafted.verdict = _SAME

    def _settle(self, drafted: Drafted, own: _Own) -> None:
        board, step, verdict = self._board, drafted.step, drafted.verdict
        if verdict is not None and verdict.accepted:
            self._drop_own(board.position, "the draft's step means the same")
            if (end := board.commit_drafted(step, verdict)) is not None:
                self._finish(end)
            else:
                board.grant(self._draft)
            return
        if verdict is None:
            board.discard(board.position, step, "draft", DRAFT_END)
        else:
            board.reject(step, verdict)
        self._drop_waiting(board.position + 1, "it followed a rejected step")
        self._commit_own(own)

    def _commit_own(self, own: _Own) -> None:
        del self._own[self._board.position]
        self._drop_below("it followed a rejected step")
        if (end := self._board.commit_own(*own)) is not None:
            self._finish(end)
        else:
            self._redraft()

    def _judge(self) -> None:
        """Ask about all steps that have another beside them, up to one that is refused."""
        if self._board.judging:
            return
        pairs, asked = list(self._pairs()), 0
        for number, (drafted, _) in enumerate(pairs, 1):
            if drafted.claim or (drafted.verdict is not None and not drafted.verdict.accepted):
                break
            asked = number if drafted.verdict is None else asked
        steps = [own for _, (own, _) in pairs[:asked] if own is not None]
        if steps:
            self._board.judge((drafted.step for drafted, _ in pairs[:asked]), steps)

    def _look_ahead(self) -> None:
        """A lane of the target behind each drafted step, as far as the draft may run ahead."""
        before: list[Step] = []
        for number in range(min(len(self._waiting) + 1, self._options.window)):
            position = self._board.position + number
            if position >= self._options.max_steps or self._board.room <= _tokens(before):
                return
            if position not in self._own and position not in self._lanes:
                self._lanes[position] = self._board.open("target", 1, before)
            if number < len(self._waiting):
                drafted = self._waiting[number]
                refused = drafted.verdict is not None and not drafted.verdict.accepted
                if drafted.claim or refused:
                    return
                before.append(drafted.step)

    def _drop_own(self, position: int, why: str) -> None:
        step, _ = self._own.pop(position)
        if step is not None:
            self._board.discard(position, step, "target", why)

    def _drop_below(self, why: str) -> None:
        """All that the target wrote or writes behind drafted steps."""
        for position in sorted(self._own):
            self._drop_own(position, why)
        for lane in self._lanes.values():
            self._board.close(lane)
        self._lanes.clear()

    def _discard_target_steps(self) -> None:
        self._drop_below("the run ended")


def _tokens(steps: Sequence[Step]) -> int:
    return sum(step.tokens for step in steps)
