"""What a schedule commands, carried out in virtual time and checked against what models wrote."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from dreamr.gate import Verdict
from dreamr.schedules import (
    CancelJudge,
    CloseLane,
    Command,
    Commit,
    Discard,
    ExtendJudge,
    Finished,
    GrantSteps,
    Judge,
    Judged,
    JudgeLate,
    OpenLane,
    Reject,
    ScheduleConfig,
    Signal,
    Warn,
    by_name,
)
from dreamr.schedules.draft_end import PREDICTED
from dreamr.steps import Ending, Step
from support.worlds import Pace, World


@dataclass
class Lane:
    role: str
    prefix: list[str]
    credit: int
    begun: str = ""
    resample: int = 0
    after: int = 0  # number of the undecided candidate that it writes after
    busy: bool = False


@dataclass
class CheckedCommands:
    """Carries out what the schedule of a method commands, and checks it.

    A subclass decides what happens meanwhile: it takes the next step or signal from the queue.
    """

    method: str
    world: World
    options: ScheduleConfig
    pace: Pace = field(default_factory=Pace)
    seed: int = 0

    def __post_init__(self) -> None:
        self.schedule = by_name(self.method, self.options)
        self.luck = random.Random(self.seed)
        self.now = 0.0
        self.queue: list[tuple[float, int, Signal | int]] = []
        self.order = 0
        self.lanes: dict[int, Lane] = {}
        self.calls: dict[int, Judge] = {}
        self.waiting: list[tuple[int, Step]] = []
        self.own: list[tuple[int, Step]] = []
        self.candidates: dict[int, Step] = {}  # after a rejection, by their numbers
        self.after: dict[int, list[tuple[int, Step]]] = {}  # what the draft wrote after them
        self.resampled = 0  # lanes opened for them
        self.commits: list[Commit] = []
        self.reports: list[str] = []
        self.finished: Finished | None = None

    @property
    def ahead(self) -> bool:
        """Whether the target writes after each drafted step, to be compared with the next one."""
        return self.method == "lookahead"

    @property
    def whole(self) -> bool:
        """Whether the draft may write to its end before it is judged."""
        return self.method == "parse"

    @property
    def independent(self) -> bool:
        """Whether judge calls run side by side.

        The target may then write after drafted steps, the draft may write after candidates, and
        these may be written while a step is judged.
        """
        return self.method == "fpsr" and self.options.independent

    @property
    def alone(self) -> bool:
        """Whether each step has a judge call of its own."""
        return self.method == "fpsr" and self.options.judge_batch == "step"

    @property
    def text(self) -> list[str]:
        return [commit.step.text for commit in self.commits]

    def room(self, drafted: int) -> int:
        """Tokens left after the committed steps and the first `drafted` waiting ones."""
        before = [*(c.step for c in self.commits), *(s for _, s in self.waiting[:drafted])]
        return max(1, self.options.max_tokens - sum(step.tokens for step in before))

    # Time

    def later(self, role: str, what: Signal | int) -> None:
        seconds = getattr(self.pace, role) * (1 + self.pace.jitter * self.luck.expovariate(1))
        self.order += 1
        heapq.heappush(self.queue, (self.now + seconds, self.order, what))

    def keep_busy(self, number: int) -> None:
        lane = self.lanes.get(number)
        if lane is not None and lane.credit > 0 and not lane.busy:
            lane.busy = True
            self.later(lane.role, number)

    # Commands

    def carry_out(self, commands: Sequence[Command]) -> None:
        for command in commands:
            assert self.finished is None, "a command after the end"
            self.obey(command)

    def obey(self, command: Command) -> None:
        match command:
            case OpenLane():
                self.open(command)
            case GrantSteps(number, steps):
                self.lanes[number].credit += steps
                self.keep_busy(number)
            case CloseLane(number):
                del self.lanes[number]
            case Judge() | ExtendJudge() | CancelJudge():
                self.obey_judging(command)
            case Commit():
                self.commit(command)
            case Reject(position, step, verdict):
                assert not verdict.accepted
                assert position == len(self.commits)
                if not self.forget_candidate(step):
                    assert (position, step) == self.waiting.pop(0)
            case Discard():
                self.discard(command)
            case Warn(message):
                self.reports.append(message)
            case Finished():
                self.finished = command

    def obey_judging(self, command: Judge | ExtendJudge | CancelJudge) -> None:
        match command:
            case Judge(call, _, _, others, resamples):
                beside = [
                    one
                    for one in self.calls.values()
                    if not (self.independent and (one.resamples or resamples))
                ]
                assert self.alone or not beside, "two judge calls at once"
                if self.ahead:
                    places = dict(self.own)
                    first = len(self.commits)
                    assert others == tuple(
                        places[first + i].text for i in range(len(command.candidates))
                    )
                self.ask(command)
                self.later("judge", Judged(call, self.verdicts(self.calls[call])))
                if self.independent and self.luck.random() < 0.3:
                    self.later("judge", JudgeLate(call))
            case ExtendJudge(call, candidates):
                assert candidates
                judge = self.calls[call]
                self.ask(Judge(call, judge.prefix, judge.candidates + candidates))
            case CancelJudge(call):
                del self.calls[call]

    def open(self, command: OpenLane) -> None:
        number, role, prefix = command.lane, command.role, command.prefix
        credit, begun, resample = command.credit, command.begun, command.resample
        assert credit >= 1
        drafted = len(prefix) - len(self.text)
        others = [lane for lane in self.lanes.values() if lane.role == role]
        if self.independent and role == "draft" and drafted == 1:
            self.open_after_candidate(command)
            return
        prefills = self.independent and role == "target" and self.options.prefill
        prefills = prefills and not self.commits
        assert command.max_tokens in (self.room(drafted), 1 if prefills else None)
        if not ((self.ahead or self.independent) and role == "target"):
            assert drafted == 0, "a lane must begin at the frontier"
            if not (self.independent and resample):
                assert all(resample and lane.resample for lane in others), "two at once"
        assert list(prefix) == self.text + [step.text for _, step in self.waiting[:drafted]]
        if begun:
            assert role == "draft"
            own, _ = self.world.write("target", prefix)
            assert own is not None
            assert own.text.startswith(begun)
        if resample:
            first = not any(lane.resample for lane in others)
            self.resampled = 1 if first else self.resampled + 1
            assert (role, resample, credit) == ("draft", self.resampled, 1)
            assert resample <= self.options.resamples, "more resamples than were allowed"
            assert self.independent or not self.waiting, "resampling while drafted steps wait"
        self.lanes[number] = Lane(role, list(prefix), credit, begun, resample)
        self.keep_busy(number)

    def open_after_candidate(self, command: OpenLane) -> None:
        [number] = [n for n, step in self.candidates.items() if step.text == command.prefix[-1]]
        candidate = self.candidates[number]
        assert command.max_tokens == max(1, self.room(0) - candidate.tokens)
        assert list(command.prefix) == [*self.text, candidate.text]
        assert not self.after.get(number), "two lanes after one candidate"
        lane = Lane("draft", list(command.prefix), command.credit, after=number)
        self.lanes[command.lane], self.after[number] = lane, []
        self.keep_busy(command.lane)

    def discard(self, command: Discard) -> None:
        position, step = command.position, command.step
        if command.source == "target":
            assert self.ahead or self.independent or position == len(self.commits)
            self.own.remove((position, step))
        elif position != len(self.commits) or not self.forget_candidate(step):
            for steps in (self.waiting, *self.after.values()):
                if (position, step) in steps:
                    steps.remove((position, step))
                    return
            raise AssertionError("no model wrote the discarded step")

    def ask(self, judge: Judge) -> None:
        """A new call, or one that has grown."""
        candidates = list(judge.candidates)
        if self.alone and not judge.resamples:
            drafted = len(judge.prefix) - len(self.text)
            before = [step.text for _, step in self.waiting[:drafted]]
            assert list(judge.prefix) == self.text + before
            assert candidates == [self.waiting[drafted][1]]
            assert all(known.prefix != judge.prefix for known in self.calls.values()), "asked twice"
            self.calls[judge.call] = judge
            return
        assert list(judge.prefix) == self.text
        if judge.resamples:
            assert candidates == [self.candidates[judge.resamples]]
        else:
            assert candidates == [step for _, step in self.waiting[: len(candidates)]]
        assert candidates
        self.calls[judge.call] = judge

    def verdicts(self, judge: Judge) -> tuple[Verdict, ...]:
        before, verdicts = list(judge.prefix), []
        for step in judge.candidates:
            verdicts.append(self.world.verdict(before, step, judge.resamples))
            before.append(step.text)
        return tuple(verdicts)

    def forget_candidate(self, step: Step) -> int:
        """The number of the candidate, which is over; 0 if none did."""
        for number, other in self.candidates.items():
            if other == step:
                del self.candidates[number]
                return number
        return 0

    def commit(self, command: Commit) -> None:
        assert command.position == len(self.commits)
        step = command.step
        if not step.tokens:  # closes a thought
            open_work = self.lanes, self.calls, self.waiting, self.own, self.candidates
            assert not any(open_work)
            self.commits.append(command)
            return
        fresh = command.source == "draft" and not self.waiting
        if fresh and (number := self.forget_candidate(step)):
            assert self.world.resample(self.text, number)[0] == step
            assert command.verdict == self.world.verdict(self.text, step, number)
            assert command.verdict.accepted
            assert not any(lane.resample for lane in self.lanes.values()), "resampling goes on"
            self.commits.append(command)
            self.waiting = self.after.pop(number, [])
            for lane in self.lanes.values():
                lane.after = 0 if lane.after == number else lane.after
            return
        if command.source == "draft":
            assert (command.position, step) == self.waiting.pop(0)
            if command.verdict is not None:  # else the draft is alone
                assert step.ending is not Ending.CAP
                assert command.verdict.accepted
                if command.verdict.reason == PREDICTED:
                    assert self.world.write("target", self.text)[0] == step
                else:
                    draft_confidence = self.world.decide_without_target(self.text, step)
                    assert command.verdict in (
                        draft_confidence,
                        self.world.verdict(self.text, step),
                    )
        else:
            self.own.remove((command.position, step))
            assert command.verdict is None
        assert self.world.write(command.source, self.text)[0] == step, "written after another text"
        self.commits.append(command)
