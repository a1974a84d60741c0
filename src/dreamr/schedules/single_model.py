"""One model alone: the target is the baseline of speed-ups, the draft the floor of accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dreamr.schedules.protocol import (
    Command,
    LaneEnded,
    LaneFailed,
    ScheduleConfig,
    Signal,
    StepDone,
)
from dreamr.schedules.run_state import RunState
from dreamr.schedules.stages import Stop
from dreamr.steps import Role, Step


class SingleModel:
    """One lane of one model, from the first step to the last.

    With `SamplingParams.lookup` this is prompt-lookup decoding (arXiv 2311.04934; implemented in
    transformers and vLLM): the tokens that followed the same n-gram earlier in the text are a
    guess, which the target checks in one forward pass. The greedy text does not change. The local
    engine matches the last three tokens, or else the last two.
    """

    def __init__(self, config: ScheduleConfig, role: Role) -> None:
        self._state = RunState(config)
        self._role: Role = role

    def resume(self, steps: Iterable[Step], lane: int) -> None:
        """Continue a text that another schedule committed; see `RunState.resume`."""
        self._state.resume(steps, lane)

    def start(self) -> Sequence[Command]:
        """Open the lane."""
        self._state.open(self._role, self._state.config.max_steps)
        return self._state.take_commands()

    def handle(self, signal: Signal) -> Sequence[Command]:
        """Commit a step as soon as it is complete."""
        state = self._state
        if not state.admit(signal):
            return []
        match signal:
            case StepDone(_, step, finish):
                end = state.commit_unjudged(step, finish, self._role)
            case LaneEnded(_, finish):
                end = state.commit_unjudged(None, finish, self._role)
            case LaneFailed():
                end = None
                state.finish(*state.target_failed(signal))
            case Stop():
                end = "length"
            case _:
                end = None
        if end is not None:
            state.finish(end)
        return state.take_commands()
