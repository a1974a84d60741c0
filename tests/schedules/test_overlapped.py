"""The base class of the schedules in which the draft writes ahead of the decisions."""

from __future__ import annotations

from dreamr.schedules import Judge, JudgeFailed, ScheduleConfig, StepDone, Warn
from dreamr.schedules.overlapped import OverlappedSchedule
from dreamr.steps import Finish, Step
from support.fpsr_talk import A


class Forgetful(OverlappedSchedule):
    """A schedule that drops a drafted step while it is judged, and lets the call go on."""

    def _decide_next(self) -> bool:
        return False

    def _start_work(self) -> None:
        if self._waiting:
            self._state.judge([self._waiting.popleft().step])

    def _on_target(self, lane: int, step: Step | None, finish: Finish | None) -> None:
        raise AssertionError("no lane of the target was opened")

    def _discard_target_steps(self) -> None:
        """Do nothing: there are none."""


def test_a_failed_call_about_steps_that_no_longer_wait_is_a_warning_only() -> None:
    schedule = Forgetful(ScheduleConfig(), "target")
    schedule.start()
    assert list(schedule.handle(StepDone(0, A, None))) == [Judge(0, (), (A,))]
    assert list(schedule.handle(JudgeFailed(0, "too busy"))) == [
        Warn("judge call failed: too busy")
    ]
