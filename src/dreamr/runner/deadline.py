"""Deadlines of runs: when a run begins to trade verification for time.

No I/O: stages follow from the time left and the durations that were measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from dreamr._means import moving_mean
from dreamr.schedules import STAGES, DeadlineStage
from dreamr.trace import Event, JudgeEnded, JudgeStarted, RunStarted, StepCommitted

OnDeadline: TypeAlias = Literal["best", "error"]

ENDING_SECONDS = 0.02  # before the deadline, so that the response arrives in time
_ANSWER_MARGIN = 1.25  # of the usual duration of an answer
_ANSWER_SHARE, _MOST_ANSWER = 0.25, 30.0  # of the deadline, and seconds, while that is unknown
_ROUNDS: dict[DeadlineStage, int] = {"window": 6, "confidence": 3}  # before the answer begins
_ROUND_SHARE, _MOST_ROUND = 1 / 16, 2.0  # likewise, while the duration of a round is unknown
_LOOK_SHARE = 1 / 16  # of the time left, after which the durations are looked at again
_LOOK_SECONDS = 0.002  # at least


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a run must end.

    Attributes:
        seconds: Seconds from the start of the run.
        on_deadline: 'best': the run trades verification for time as the deadline comes near, and
            ends with the best answer so far. 'error': it does not, and fails at the deadline.
        answer_seconds: Usual duration of an answer after the reasoning, None if it is unknown.
    """

    seconds: float
    on_deadline: OnDeadline = "best"
    answer_seconds: float | None = None

    def needed(self, stage: DeadlineStage, round_seconds: float | None) -> float:
        """Return the seconds before the deadline at which a stage begins.

        Args:
            stage: The stage.
            round_seconds: Mean duration of a committed step with its verdict; None if unknown.
        """
        if stage == "best":
            return ENDING_SECONDS
        if self.answer_seconds is None:
            answer = min(_ANSWER_SHARE * self.seconds, _MOST_ANSWER)
        else:
            answer = _ANSWER_MARGIN * self.answer_seconds + ENDING_SECONDS
        if round_seconds is None:
            round_seconds = min(_ROUND_SHARE * self.seconds, _MOST_ROUND)
        return answer + _ROUNDS.get(stage, 0) * round_seconds

    def stage(self, left: float, round_seconds: float | None = None) -> DeadlineStage | None:
        """Return the stage with this many seconds left, None if there is no hurry.

        Args:
            left: Seconds until the deadline.
            round_seconds: Mean duration of a committed step with its verdict; None if unknown.
        """
        begun = [stage for stage in STAGES if left <= self.needed(stage, round_seconds)]
        return begun[-1] if begun else None

    def pause(self, left: float, round_seconds: float | None = None) -> float:
        """Return after how many seconds to look at the stage again.

        Args:
            left: Seconds until the deadline.
            round_seconds: Mean duration of a committed step with its verdict; None if unknown.
        """
        upcoming = [left - self.needed(stage, round_seconds) for stage in STAGES]
        soonest = min((seconds for seconds in upcoming if seconds > 0), default=0.0)
        return max(_LOOK_SECONDS, min(soonest, _LOOK_SHARE * left))


def deadline_of(seconds: float | None, on_deadline: OnDeadline = "best") -> Deadline | None:
    """Return the deadline of a run, None if it has as much time as it needs."""
    return None if seconds is None else Deadline(seconds, on_deadline)


@dataclass(slots=True)
class RoundTimes:
    """Measures how long a run takes for a committed step with its verdict.

    Steps of an interrupted run that this one continues are not measured.
    """

    _step: float | None = None
    _judge: float | None = None
    _since: float = 0.0
    _resumed: int = 0
    _calls: dict[int, float] = field(default_factory=dict)

    def see(self, event: Event) -> None:
        """Note an event of the run."""
        match event:
            case RunStarted(options=options):
                self._resumed = int(options.get("resumed_steps") or 0)
            case JudgeStarted(time, call):
                self._calls[call] = time
            case JudgeEnded(time, call, _, verdicts):
                since = self._calls.pop(call, time)
                self._judge = moving_mean(self._judge, time - since if verdicts else None, 0.3)
            case StepCommitted(time, position) if position < self._resumed:
                self._since = time
            case StepCommitted(time):
                self._step = moving_mean(self._step, time - self._since, 0.3)
                self._since = time

    @property
    def seconds(self) -> float | None:
        """Mean seconds of a round; None before one is complete."""
        if self._step is None:
            return None
        return max(self._step, self._judge or 0.0)
