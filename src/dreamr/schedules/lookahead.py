"""Lookahead Reasoning: compare each drafted step with the target's own step at that position.

    committed | waiting[0] | waiting[1] | (step that the draft is writing)
              | target[0]  | target[1]  | target[2] ...   each after the drafted steps before it

A drafted step is committed if the target's own step at its position means the same. The target
writes all of its steps concurrently, each to its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from dreamr.gate import Verdict
from dreamr.schedules.draft_end import DRAFT_END, PREDICTED, RUN_ENDED
from dreamr.schedules.overlapped import OverlappedSchedule, WaitingStep
from dreamr.schedules.protocol import ScheduleConfig
from dreamr.steps import Ending, Finish, Step

_SAME = Verdict(True, 1.0, 1.0, PREDICTED, kind="equivalence")
_INCOMPARABLE = Verdict(
    False, 0.0, 1.0, "the target's step ends the reasoning or was cut", kind="equivalence"
)

_TargetStep: TypeAlias = tuple[Step | None, Finish | None]


class Lookahead(OverlappedSchedule):
    """Lookahead Reasoning (arXiv 2506.19830), asynchronous, width 1.

    As in the paper:

    - The draft runs ahead by up to `window` steps (paper: a depth of 4 to 6).
    - For each drafted prefix the target writes its own next step, concurrently, each to its end.
    - Steps of equal text, up to white space and case, count as equivalent. Otherwise a judge
      decides whether both steps mean and compute the same.
    - At the first difference the target's step is committed and all later steps are discarded.
    - Cut steps are never committed.
    - The draft's end counts only if the target's own step ends the reasoning too.

    Different from the paper:

    - The judge is the target itself, asked within the conversation; the paper uses a separate 7B
      model.
    - Pairs that are ready together are compared in one forward pass.
    - A target step that is complete before the draft's is committed at once.
    """

    def __init__(self, config: ScheduleConfig) -> None:
        # The target's own step decides on the end, whatever `final_answer` says.
        super().__init__(config, "target")
        self._lanes: dict[int, int] = {}  # lanes of the target by position
        self._target_steps: dict[int, _TargetStep] = {}  # complete steps of the target by position

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
        """Yield the drafted step and the target's step of each position, from the frontier on."""
        for position, drafted in enumerate(self._waiting, self._state.position):
            if (written := self._target_steps.get(position)) is None:
                return
            yield drafted, written

    def _compare_texts(self) -> None:
        """Decide the pairs that need no judge."""
        for drafted, (written, _) in self._pairs():
            if not drafted.decided:
                if written is None or written.ending is not Ending.DELIMITER:
                    drafted.verdict = _INCOMPARABLE
                elif written.plain == drafted.step.plain:
                    drafted.verdict = _SAME

    def _decide_drafted(self, drafted: WaitingStep, written: _TargetStep) -> None:
        state, step, verdict = self._state, drafted.step, drafted.verdict
        if verdict is not None and verdict.accepted:
            self._discard_target_step(state.position, "drafted step accepted")
            if (end := state.commit_drafted(step, verdict)) is not None:
                self._finish(end)
            else:
                self._grant_draft()
            return
        if verdict is None:
            state.discard(state.position, step, "draft", DRAFT_END)
        else:
            state.reject(step, verdict)
        self._discard_waiting(state.position + 1, "followed a rejected step")
        self._commit_target_step(written)

    def _commit_target_step(self, written: _TargetStep) -> None:
        del self._target_steps[self._state.position]
        self._discard_target_work("followed a rejected step")
        if (end := self._state.commit_unjudged(*written)) is not None:
            self._finish(end)
        else:
            self._restart_draft()

    def _judge_pairs(self) -> None:
        """Judge all pairs in one call, up to the first rejected step."""
        if self._state.judging:
            return
        pairs, asked = list(self._pairs()), 0
        for number, (drafted, _) in enumerate(pairs, 1):
            if drafted.is_draft_end or drafted.rejected:
                break
            asked = number if drafted.verdict is None else asked
        steps = [written for _, (written, _) in pairs[:asked] if written is not None]
        if steps:
            call = self._state.judge((drafted.step for drafted, _ in pairs[:asked]), steps)
            for drafted, _ in pairs[:asked]:
                drafted.call = call

    def _start_target_lanes(self) -> None:
        """Open a target lane at the frontier and after each drafted step within the window."""
        before: list[Step] = []
        for number in range(min(len(self._waiting) + 1, self._config.window)):
            position = self._state.position + number
            if position >= self._config.max_steps or self._state.room <= _tokens(before):
                return
            if position not in self._target_steps and position not in self._lanes:
                self._lanes[position] = self._state.open("target", 1, before)
            if number < len(self._waiting):
                drafted = self._waiting[number]
                if drafted.is_draft_end or drafted.rejected:
                    return
                before.append(drafted.step)

    def _discard_target_step(self, position: int, why: str) -> None:
        step, _ = self._target_steps.pop(position)
        if step is not None:
            self._state.discard(position, step, "target", why)

    def _discard_target_work(self, why: str) -> None:
        """Discard the target's steps and close its lanes, at all positions."""
        for position in sorted(self._target_steps):
            self._discard_target_step(position, why)
        for lane in self._lanes.values():
            self._state.close(lane)
        self._lanes.clear()

    def _discard_target_steps(self) -> None:
        self._discard_target_work(RUN_ENDED)


def _tokens(steps: Sequence[Step]) -> int:
    return sum(step.tokens for step in steps)
