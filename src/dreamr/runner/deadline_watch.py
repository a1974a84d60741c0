"""Following of a run's deadline: signals to the schedule as it comes near."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import anyio

from dreamr.gate import StepContext, Verdict
from dreamr.runner.deadline import Deadline, RoundTimes
from dreamr.runner.lanes import Lane
from dreamr.runner.recorder import Recorder
from dreamr.schedules import STAGES, DeadlineStage, Finished, Signal, Stop, TimeShort
from dreamr.schedules.overlapped import CONFIDENT
from dreamr.steps import Step
from dreamr.trace import DeadlineNear, Event


class DeadlineWatch:
    """Tells the schedule of a run, in stages, that the deadline comes near."""

    def __init__(self, deadline: Deadline, recorder: Recorder, lanes: Mapping[int, Lane]) -> None:
        """Prepare to follow the deadline of a run.

        Args:
            deadline: The deadline.
            recorder: Events of the run, with their times.
            lanes: Open lanes of the run by number.
        """
        self._deadline, self._recorder, self._lanes = deadline, recorder, lanes
        self._times = RoundTimes()
        self._scope = anyio.CancelScope()
        self._stage: DeadlineStage | None = None
        self._missed = False

    def see(self, event: Event) -> None:
        """Note an event of the run."""
        self._times.see(event)

    async def follow(self, signal: Callable[[Signal], None]) -> None:
        """Follow the deadline to its end, or until the run has ended.

        Args:
            signal: Tells the schedule.
        """
        with self._scope:
            await self._follow(signal)

    async def _follow(self, signal: Callable[[Signal], None]) -> None:
        deadline = self._deadline
        if deadline.on_deadline == "error":
            await anyio.sleep(max(0.0, deadline.seconds - self._recorder.seconds))
            self._missed = True
            signal(Stop())
            return
        while self._stage != "best":
            left = deadline.seconds - self._recorder.seconds
            stage = deadline.stage(left, self._times.seconds)
            if stage is not None and _later(stage, self._stage):
                self._stage = stage
                self._recorder.add(DeadlineNear, stage, left)
                signal(TimeShort(stage, self._unfinished()))
            else:
                await anyio.sleep(deadline.pause(left, self._times.seconds))

    def verdict(self, context: StepContext) -> Verdict | None:
        """Return the verdict on a drafted step that needs no judge in this stage, else None."""
        if self._stage is None or self._stage == "window":
            return None
        return CONFIDENT.decide_without_target(context)

    def ended(self, finished: Finished) -> Finished:
        """End the watch; return how the run ended, with an error if it missed its deadline."""
        self._scope.cancel()
        if not self._missed:
            return finished
        missed = f"the deadline of {self._deadline.seconds:.4g} s has passed"
        return replace(finished, finish="deadline", error=missed)

    def _unfinished(self) -> dict[int, Step]:
        """Return what the open lanes have written of their current steps."""
        steps = ((number, lane.unfinished) for number, lane in self._lanes.items())
        return {number: step for number, step in steps if step is not None}


def _later(stage: DeadlineStage, than: DeadlineStage | None) -> bool:
    return than is None or STAGES.index(stage) > STAGES.index(than)
