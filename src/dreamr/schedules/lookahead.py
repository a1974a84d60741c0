"""The target's own step at every drafted prefix, and whether the two mean the same.

    committed | waiting[0] | waiting[1] | (the step that the draft is writing)
              | target[0]  | target[1]  | target[2] ...   each after the drafted steps before it

A drafted step is kept where the target's own step in its place means the same. All of the target's
steps are written side by side, each to its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from dreamr.gate import Verdict
from dreamr.schedules.draft_end import DRAFT_END, PREDICTED
from dreamr.schedules.overlapped import OverlappedSchedule, WaitingStep
from dreamr.schedules.protocol import ScheduleConfig
from dreamr.steps import Ending, Finish, Step

_SAME = Verdict(True, 1.0, 1.0, PREDICTED, kind="equivalence")
_OTHER = Verdict(False, 0.0, 1.0, "the target went another way", kind="equivalence")

_TargetStep: TypeAlias = tuple[Step | None, Finish | None]


class Lookahead(OverlappedSchedule):
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

    def __init__(self, config: ScheduleConfig) -> None:
        super().__init__(config, "target")  # the target's own end decides, whoever is to answer
        self._lanes: dict[int, int] = {}  # the target's lanes by their position
        self._target_steps: dict[int, _TargetStep] = {}  # what they wrote, by position

    def _on_target(self, lane: int, step: Step | None, finish: Finish | None) -> None:
        position = next(at for at, other in self._lanes.items() if other == lane)
        self._state.close(self._lanes.pop(position))
        self._target_steps[position] = step, finish

    def _start_work(self) -> None:
        self._judge_pairs()
        self._start_target_lanes()

    def _decide_next(self) -> bool:
        self._compare_texts()
        written = self._target_steps.get(self._state.position)
        if written is None:
            return False
        if not self._waiting:
            if self._config.deterministic and self._draft is not None:
                return False
            self._commit_target_step(written)
            return True
        if not self._waiting[0].decided:
            return False
        self._decide_drafted(self._waiting.popleft(), written)
        return True

    def _pairs(self) -> Iterator[tuple[WaitingStep, _TargetStep]]:
        """Drafted steps and the target's in their places, from the frontier on."""
        for position, drafted in enumerate(self._waiting, self._state.position):
            if (written := self._target_steps.get(position)) is None:
                return
            yield drafted, written

    def _compare_texts(self) -> None:
        """Decide where nobody need be asked."""
        for drafted, (written, _) in self._pairs():
            if not drafted.decided:
                if written is None or written.ending is not Ending.DELIMITER:
                    drafted.verdict = _OTHER
                elif written.plain == drafted.step.plain:
                    drafted.verdict = _SAME

    def _decide_drafted(self, drafted: WaitingStep, written: _TargetStep) -> None:
        state, step, verdict = self._state, drafted.step, drafted.verdict
        if verdict is not None and verdict.accepted:
            self._discard_target_step(state.position, "the draft's step means the same")
            if (end := state.commit_drafted(step, verdict)) is not None:
                self._finish(end)
            else:
                state.grant(self._draft)
            return
        if verdict is None:
            state.discard(state.position, step, "draft", DRAFT_END)
        else:
            state.reject(step, verdict)
        self._discard_waiting(state.position + 1, "it followed a rejected step")
        self._commit_target_step(written)

    def _commit_target_step(self, written: _TargetStep) -> None:
        del self._target_steps[self._state.position]
        self._discard_target_work("it followed a rejected step")
        if (end := self._state.commit_unjudged(*written)) is not None:
            self._finish(end)
        else:
            self._restart_draft()

    def _judge_pairs(self) -> None:
        """Ask about all steps that have another beside them, up to one that is refused."""
        if self._state.judging:
            return
        pairs, asked = list(self._pairs()), 0
        for number, (drafted, _) in enumerate(pairs, 1):
            if drafted.is_draft_end or (
                drafted.verdict is not None and not drafted.verdict.accepted
            ):
                break
            asked = number if drafted.verdict is None else asked
        steps = [written for _, (written, _) in pairs[:asked] if written is not None]
        if steps:
            self._state.judge((drafted.step for drafted, _ in pairs[:asked]), steps)

    def _start_target_lanes(self) -> None:
        """A lane of the target behind each drafted step, as far as the draft may run ahead."""
        before: list[Step] = []
        for number in range(min(len(self._waiting) + 1, self._config.window)):
            position = self._state.position + number
            if position >= self._config.max_steps or self._state.room <= _tokens(before):
                return
            if position not in self._target_steps and position not in self._lanes:
                self._lanes[position] = self._state.open("target", 1, before)
            if number < len(self._waiting):
                drafted = self._waiting[number]
                refused = drafted.verdict is not None and not drafted.verdict.accepted
                if drafted.is_draft_end or refused:
                    return
                before.append(drafted.step)

    def _discard_target_step(self, position: int, why: str) -> None:
        step, _ = self._target_steps.pop(position)
        if step is not None:
            self._state.discard(position, step, "target", why)

    def _discard_target_work(self, why: str) -> None:
        """All that the target wrote or writes behind drafted steps."""
        for position in sorted(self._target_steps):
            self._discard_target_step(position, why)
        for lane in self._lanes.values():
            self._state.close(lane)
        self._lanes.clear()

    def _discard_target_steps(self) -> None:
        self._discard_target_work("the run ended")


def _tokens(steps: Sequence[Step]) -> int:
    return sum(step.tokens for step in steps)
