"""One model alone: the target is what speed-ups are measured against, the draft is the floor."""

from __future__ import annotations

from collections.abc import Sequence

from dreamr.schedules.protocol import (
    Command,
    LaneEnded,
    LaneFailed,
    ScheduleConfig,
    Signal,
    StepDone,
)
from dreamr.schedules.run_state import RunState
from dreamr.steps import Role


class SingleModel:
    """One lane of one model, from the first step to the last.

    With a stream that guesses ahead (`SamplingParams.lookup`), this is prompt-lookup decoding:
    tokens that followed the same words earlier are checked in one pass of the target, whose greedy
    text does not change. The source is arXiv 2311.04934 and its use in transformers and vLLM; the
    local engine takes the last three tokens that occurred before, or else two.
    """

    def __init__(self, config: ScheduleConfig, role: Role) -> None:
        self._state = RunState(config)
        self._role: Role = role

    def start(self) -> Sequence[Command]:
        """Open the lane."""
        self._state.open(self._role, self._state.config.max_steps)
        return self._state.take_commands()

    def handle(self, signal: Signal) -> Sequence[Command]:
        """Commit each step as it comes."""
        state = self._state
        if not state.admit(signal):
            return []
        match signal:
            case StepDone(_, step, finish):
                end = state.commit_unjudged(step, finish, self._role)
            case LaneEnded(_, finish):
                end = state.commit_unjudged(None, finish, self._role)
            case LaneFailed(_, message):
                end = None
                state.finish("failed", message)
        if end is not None:
            state.finish(end)
        return state.take_commands()
