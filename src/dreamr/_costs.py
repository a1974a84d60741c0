"""Costs of a draft and a target over HTTP, measured in runs, and what they suggest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean

from dreamr._means import moving_mean
from dreamr.steps import Role, conclusion
from dreamr.trace import (
    Event,
    JudgeEnded,
    JudgeStarted,
    LaneClosed,
    LaneOpened,
    LanePaused,
    Result,
    StepCommitted,
    StepReady,
    StepRejected,
)

_FADE = 0.98  # of the counts of resamples with each run, so that the prior returns
_RESAMPLED = (1.2, 2.8)  # accepted and rejected candidates that the estimate begins with
_MOST_RESAMPLES = 3
_LEAST_GAIN = 0.08  # share of a target step that a further candidate must save


@dataclass(frozen=True, slots=True)
class RunCosts:
    """Mean costs in one run, in seconds; None where the run did not measure them.

    Attributes:
        draft_step: Seconds of a drafted step, while the draft writes.
        target_step: Seconds of a step of the target, from the request to its end.
        judge: Seconds of a judge call.
        candidates: Number of candidates that the draft wrote for rejected steps.
        accepted: Number of them that were committed.
    """

    draft_step: float | None = None
    target_step: float | None = None
    judge: float | None = None
    candidates: int = 0
    accepted: int = 0

    @classmethod
    def of(cls, events: Iterable[Event]) -> RunCosts:
        """Measure the costs in the events of a run."""
        watch = _Watch()
        for event in events:
            watch.see(event)
        return cls(
            _mean_of(watch.steps["draft"]),
            _mean_of(watch.steps["target"]),
            _mean_of(watch.judged),
            sum(watch.candidates[position] for position in watch.rejected),
            len(watch.rejected & watch.drafted & watch.candidates.keys()),
        )


@dataclass(slots=True)
class _Watch:
    """What is known while the events of a run are read."""

    steps: dict[Role, list[float]] = field(default_factory=lambda: {"draft": [], "target": []})
    judged: list[float] = field(default_factory=list)
    candidates: Counter[int] = field(default_factory=Counter)  # by position
    rejected: set[int] = field(default_factory=set)  # positions of rejected steps
    drafted: set[int] = field(default_factory=set)  # positions of committed drafted steps
    _since: dict[int, float] = field(default_factory=dict)  # by lane: end of the step before
    _calls: dict[int, float] = field(default_factory=dict)

    def see(self, event: Event) -> None:
        match event:
            case LaneOpened(time, lane, _, position, resample):
                self._since[lane] = time
                if resample:
                    self.candidates[position] += 1
            case StepReady(time, lane, role) if lane in self._since:
                self.steps[role].append(time - self._since[lane])
                self._since[lane] = time
            case LanePaused(_, lane) | LaneClosed(_, lane):
                # After a pause the next step was received meanwhile: its time is unknown.
                self._since.pop(lane, None)
            case JudgeStarted(time, call):
                self._calls[call] = time
            case JudgeEnded(time, call, _, verdicts) if verdicts and call in self._calls:
                self.judged.append(time - self._calls.pop(call))
            case StepRejected(_, position):
                self.rejected.add(position)
            case StepCommitted(_, position, _, "draft"):
                self.drafted.add(position)


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of a pair, smoothed over its runs; None until they are measured.

    Attributes:
        draft_step: Seconds of a drafted step.
        target_step: Seconds of a step of the target.
        judge: Seconds of a judge call.
        answer: Seconds of an answer after the reasoning.
        accepted: Accepted candidates for rejected steps, older ones counted less.
        rejected: Rejected candidates, likewise.
    """

    draft_step: float | None = None
    target_step: float | None = None
    judge: float | None = None
    answer: float | None = None
    accepted: float = _RESAMPLED[0]
    rejected: float = _RESAMPLED[1]

    def after(self, run: RunCosts, answer: float | None = None) -> Costs:
        """Return the costs after one more run, whose answer took `answer` seconds."""
        accepted, rejected = (
            before + _FADE * (now - before)
            for before, now in zip(_RESAMPLED, (self.accepted, self.rejected), strict=True)
        )
        return Costs(
            moving_mean(self.draft_step, run.draft_step),
            moving_mean(self.target_step, run.target_step),
            moving_mean(self.judge, run.judge),
            moving_mean(self.answer, answer),
            accepted + run.accepted,
            rejected + run.candidates - run.accepted,
        )

    @property
    def resamples(self) -> int:
        """The number of candidates for a rejected step that saves time; 0 if nothing is known.

        The candidates are written and judged side by side while the target writes its own step.
        Each further one must save a share of the target's step: it takes capacity from others.
        """
        if self.draft_step is None or self.judge is None or not self.target_step:
            return 0
        saved = 1 - (self.draft_step + self.judge) / self.target_step  # if one is accepted
        missed = self.rejected / (self.accepted + self.rejected)
        count = 0
        while count < _MOST_RESAMPLES and saved * missed**count * (1 - missed) >= _LEAST_GAIN:
            count += 1
        return count


def answer_seconds(result: Result) -> float | None:
    """Return the seconds that the answer of a run took, after its last thought.

    Without thoughts, the last step is the answer. None if there is no reasoning before it.
    """
    times = [event.time for event in result.events if isinstance(event, StepCommitted)]
    left = len(conclusion(result.text).rstrip())
    if left == len(result.text.rstrip()):
        return result.seconds - times[-2] if len(times) > 1 else None
    for committed, time in zip(reversed(result.steps), reversed(times), strict=False):
        if left <= 0:
            return result.seconds - time
        left -= len(committed.step.text.strip())
    return None


def _mean_of(seconds: list[float]) -> float | None:
    return fmean(seconds) if seconds else None
