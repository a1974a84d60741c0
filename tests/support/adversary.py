"""A driver in virtual time that does its worst, and watches over the invariants."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from dreamr.schedules import (
    Commit,
    Finished,
    Judged,
    JudgeFailed,
    JudgeLate,
    LaneEnded,
    LaneFailed,
    Signal,
    StepDone,
)
from dreamr.steps import Ending, Step
from support.checked_commands import CheckedCommands, Lane


@dataclass
class Outcome:
    """What came of a run."""

    commits: list[Commit]
    finished: Finished
    seconds: float
    reports: list[str]


@dataclass
class Adversary(CheckedCommands):
    """Drives the schedule of a method; any breach of an invariant is an AssertionError.

    failures: how likely each lane and call of the fragile models is to fail at each moment, half
    of them for good.
    """

    failures: float = 0.0
    fragile: Sequence[str] = ("draft", "target")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.lost: set[str] = set()

    def run(self) -> Outcome:
        self.carry_out(self.schedule.start())
        for _ in range(60 * (self.options.max_steps + 1)):
            if self.finished is not None:
                break
            assert self.queue, "nothing is under way, and the run is not finished"
            self.advance()
        assert self.finished is not None, "the run does not end"
        self.check_end()
        return Outcome(self.commits, self.finished, self.now, self.reports)

    def check_end(self) -> None:
        assert not self.lanes, "a lane was left open"
        assert not self.calls, "a judge call was left open"
        assert not self.waiting, "drafted steps were forgotten"
        assert not self.own, "a step of the target was forgotten"
        assert not self.candidates, "a resampled candidate was forgotten"
        assert not any(self.after.values()), "a step after a candidate was forgotten"
        assert len(self.commits) <= self.options.max_steps
        late = StepDone(0, Step("late\n\n", 1, Ending.DELIMITER))
        assert not list(self.schedule.handle(late)), "something happened after the end"

    def advance(self) -> None:
        self.now, _, what = heapq.heappop(self.queue)
        signal = self.write(what) if isinstance(what, int) else self.judged(what)
        if signal is not None:
            self.carry_out(self.schedule.handle(signal))
            most = self.options.max_steps if self.whole else self.options.window
            assert len(self.waiting) <= most, "more than a window waits"
            many = self.options.window + 1 if self.independent else self.options.window
            assert len(self.own) <= (many if self.ahead or self.independent else 1)

    # Engines

    def write(self, number: int) -> Signal | None:
        """The lane's next step, or a late word of a lane that was closed meanwhile."""
        lane = self.lanes.get(number)
        if lane is None:
            stale = StepDone(number, Step("stale\n\n", 1, Ending.DELIMITER))
            return self.luck.choice([None, stale, LaneEnded(number, "stop")])
        lane.busy = False
        if lane.role in self.lost or self.unlucky(lane.role):
            return self.fail(number, lane)
        if lane.resample:
            step, finish = self.world.resample(lane.prefix, lane.resample)
        elif lane.begun:
            step, finish = self.world.complete(lane.prefix, lane.begun)
            lane.begun = ""
        else:
            step, finish = self.world.write(lane.role, lane.prefix)
        if finish is not None:
            del self.lanes[number]
        if step is None:
            assert finish is not None
            return LaneEnded(number, finish)
        if lane.resample:
            assert lane.prefix == self.text, "a resample for what is decided"
            self.candidates[lane.resample] = step
        elif lane.role == "draft":
            steps = self.after[lane.after] if lane.after else self.waiting
            steps.append((len(lane.prefix), step))
        else:
            self.own.append((len(lane.prefix), step))
        target_confidence = lane.role == "draft" and not lane.resample
        verdict = self.world.decide_without_target(lane.prefix, step) if target_confidence else None
        lane.prefix.append(step.text)
        lane.credit -= 1
        self.keep_busy(number)
        return StepDone(number, step, finish, verdict)

    def unlucky(self, role: str) -> bool:
        return role in self.fragile and self.luck.random() < self.failures

    def fail(self, number: int, lane: Lane) -> LaneFailed:
        del self.lanes[number]
        if self.luck.random() < 0.5:
            self.lost.add(lane.role)
        return LaneFailed(number, "out of luck", lane.role in self.lost)

    def judged(self, signal: Signal) -> Signal:
        if isinstance(signal, JudgeLate):
            return signal
        assert isinstance(signal, Judged)
        judge = self.calls.pop(signal.call, None)
        if judge is None:
            return signal  # canceled, and too late
        if "target" in self.lost or self.unlucky("target"):
            if self.luck.random() < 0.5:
                self.lost.add("target")
            return JudgeFailed(signal.call, "out of luck", "target" in self.lost)
        # What was asked at first is judged, and some of what was added, or all, or nothing.
        at_first = len(signal.verdicts)
        taken = self.luck.randint(at_first, len(judge.candidates))
        return Judged(signal.call, self.verdicts(judge)[:taken])
