"""A driver in virtual time that does its worst, and watches over the invariants."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dreamr.gate import Evidence, Verdict
from dreamr.schedules import (
    CancelJudge,
    CloseLane,
    Command,
    Commit,
    Discard,
    ExtendJudge,
    Finish,
    Finished,
    GrantSteps,
    Judge,
    Judged,
    JudgeFailed,
    LaneEnded,
    LaneFailed,
    OpenLane,
    Reject,
    Schedule,
    ScheduleConfig,
    Signal,
    StepDone,
    Warn,
)
from dreamr.steps import Ending, Step

Writing = tuple[Step | None, Finish | None]

_ENDINGS: dict[str, tuple[Ending | None, Finish | None]] = {
    "step": (Ending.DELIMITER, None),
    "last step": (Ending.DELIMITER, "stop"),
    "answer": (Ending.ANSWER, "stop"),
    "end": (Ending.END, "stop"),
    "cap": (Ending.CAP, None),
    "length": (Ending.CAP, "length"),
    "nothing": (None, "stop"),
    "no room": (None, "length"),
}


@dataclass(frozen=True)
class World:
    """What the models write and think: functions of the text before, and of nothing else.

    odd_drafts, odd_steps: how often the draft, the target write anything but a plain step.
    alike: how often the target writes what the draft would have written. shown: how often the
    judging shows how the target would begin. trusted: how often a drafted step needs no judge.
    """

    seed: int
    acceptance: float = 0.5
    odd_drafts: float = 0.2
    odd_steps: float = 0.1
    alike: float = 0.0
    shown: float = 0.5
    skipped_verification: float = 0.0

    def write(self, role: str, prefix: Sequence[str]) -> Writing:
        luck = random.Random(f"{self.seed} alike {''.join(prefix)}")
        role = "draft" if luck.random() < self.alike else role
        luck = random.Random(f"{self.seed} {role} {''.join(prefix)}")
        odd = luck.random() < (self.odd_drafts if role == "draft" else self.odd_steps)
        ending, finish = _ENDINGS[luck.choice(list(_ENDINGS)) if odd else "step"]
        if ending is None:
            return None, finish
        text = f"{role[0]}{luck.randrange(1000)}{'.' if ending is Ending.END else chr(10) * 2}"
        return Step(text, luck.randint(1, 9), ending), finish

    def try_again(self, prefix: Sequence[str], number: int) -> Writing:
        """What the draft writes in the place of a rejected step; sometimes just that."""
        luck = random.Random(f"{self.seed} try {number} {''.join(prefix)}")
        if luck.random() < 0.2:
            return self.write("draft", prefix)
        step, finish = self.write("draft", [*prefix, f"try {number}"])
        return (None if step is None else replace(step, text=f"try {step.text}")), finish

    def verdict(self, prefix: Sequence[str], step: Step, resamples: int = 0) -> Verdict:
        luck = random.Random(f"{self.seed} judge {resamples} {''.join(prefix)}|{step.text}")
        accepted, ratio = luck.random() < self.acceptance, luck.random()
        own, _ = self.write("target", prefix)
        shown = own is not None and luck.random() < self.shown
        begun = own.text[: luck.randint(1, len(own.text))] if own is not None and shown else ""
        evidence = Evidence(ratio, 1 - ratio, target_prefix=begun)
        return Verdict(accepted, ratio, 0.5, "the world says so", evidence, kind="ratio")

    def decide_without_target(self, prefix: Sequence[str], step: Step) -> Verdict | None:
        """On a drafted step about which nobody need be asked."""
        luck = random.Random(f"{self.seed} trust {''.join(prefix)}|{step.text}")
        if step.ending is Ending.CAP or luck.random() >= self.skipped_verification:
            return None
        return Verdict(True, 0.99, 0.95, "the draft is sure of it", kind="draft_probability")

    def complete(self, prefix: Sequence[str], begun: str) -> Writing:
        """The draft's step where the target's beginning is given: often the target's own."""
        luck = random.Random(f"{self.seed} complete {''.join(prefix)}|{begun}")
        own = self.write("target", prefix)
        if luck.random() < 0.5:
            return own
        step, finish = self.write("draft", [*prefix, begun])
        return (None if step is None else replace(step, text=begun + step.text)), finish


@dataclass(frozen=True)
class Pace:
    """Virtual seconds of a step of each model and of a judge call, times something random."""

    draft: float = 1.0
    target: float = 3.0
    judge: float = 0.5
    jitter: float = 1.0


@dataclass
class _Lane:
    role: str
    prefix: list[str]
    credit: int
    begun: str = ""
    resample: int = 0
    busy: bool = False


@dataclass
class Outcome:
    """What came of a run."""

    commits: list[Commit]
    finished: Finished
    seconds: float
    reports: list[str]


@dataclass
class Adversary:
    """Drives a schedule; any breach of an invariant is an AssertionError.

    failures: how likely each lane and call of the fragile models is to fail at each moment, half
    of them for good. ahead: whether the target may write behind drafted steps. whole: whether the
    draft may write to its end before it is judged.
    """

    schedule: Schedule
    world: World
    options: ScheduleConfig
    pace: Pace = field(default_factory=Pace)
    seed: int = 0
    failures: float = 0.0
    fragile: Sequence[str] = ("draft", "target")
    ahead: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        self.luck = random.Random(self.seed)
        self.now = 0.0
        self.queue: list[tuple[float, int, Signal | int]] = []
        self.order = 0
        self.lanes: dict[int, _Lane] = {}
        self.calls: dict[int, Judge] = {}
        self.lost: set[str] = set()
        self.waiting: list[tuple[int, Step]] = []
        self.own: list[tuple[int, Step]] = []
        self.tries: dict[int, Step] = {}  # candidates of the race that is on, by their numbers
        self.raced = 0  # lanes that it has opened
        self.commits: list[Commit] = []
        self.reports: list[str] = []
        self.finished: Finished | None = None

    @property
    def text(self) -> list[str]:
        return [commit.step.text for commit in self.commits]

    def room(self, drafted: int) -> int:
        """Tokens that fit behind the committed steps and so many of those that wait."""
        before = [*(c.step for c in self.commits), *(s for _, s in self.waiting[:drafted])]
        return max(1, self.options.max_tokens - sum(step.tokens for step in before))

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
        assert not self.tries, "another try was forgotten"
        assert len(self.commits) <= self.options.max_steps
        late = StepDone(0, Step("late\n\n", 1, Ending.DELIMITER))
        assert not list(self.schedule.handle(late)), "something happened after the end"

    # Time

    def later(self, role: str, what: Signal | int) -> None:
        seconds = getattr(self.pace, role) * (1 + self.pace.jitter * self.luck.expovariate(1))
        self.order += 1
        heapq.heappush(self.queue, (self.now + seconds, self.order, what))

    def advance(self) -> None:
        self.now, _, what = heapq.heappop(self.queue)
        signal = self.write(what) if isinstance(what, int) else self.judged(what)
        if signal is not None:
            self.carry_out(self.schedule.handle(signal))
            most = self.options.max_steps if self.whole else self.options.window
            assert len(self.waiting) <= most, "more than a window waits"
            assert len(self.own) <= (self.options.window if self.ahead else 1)

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
            step, finish = self.world.try_again(lane.prefix, lane.resample)
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
            assert lane.prefix == self.text, "another try for what is decided"
            self.tries[lane.resample] = step
        elif lane.role == "draft":
            self.waiting.append((len(lane.prefix), step))
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

    def fail(self, number: int, lane: _Lane) -> LaneFailed:
        del self.lanes[number]
        if self.luck.random() < 0.5:
            self.lost.add(lane.role)
        return LaneFailed(number, "out of luck", lane.role in self.lost)

    def keep_busy(self, number: int) -> None:
        lane = self.lanes.get(number)
        if lane is not None and lane.credit > 0 and not lane.busy:
            lane.busy = True
            self.later(lane.role, number)

    def judged(self, signal: Signal) -> Signal:
        assert isinstance(signal, Judged)
        judge = self.calls.pop(signal.call, None)
        if judge is None:
            return signal  # cancelled, and too late
        if "target" in self.lost or self.unlucky("target"):
            if self.luck.random() < 0.5:
                self.lost.add("target")
            return JudgeFailed(signal.call, "out of luck", "target" in self.lost)
        # What was asked at first is judged, and some of what was added, or all, or nothing.
        at_first = len(signal.verdicts)
        taken = self.luck.randint(at_first, len(judge.candidates))
        return Judged(signal.call, self.verdicts(judge)[:taken])

    # Commands

    def carry_out(self, commands: Sequence[Command]) -> None:
        for command in commands:
            assert self.finished is None, "a command after the end"
            self.obey(command)

    def obey(self, command: Command) -> None:
        match command:
            case OpenLane():
                self.open_lane(command)
            case GrantSteps(number, steps):
                self.lanes[number].credit += steps
                self.keep_busy(number)
            case CloseLane(number):
                del self.lanes[number]
            case Judge():
                self.begin_judging(command)
            case ExtendJudge(call, candidates):
                assert candidates
                judge = self.calls[call]
                self.ask(Judge(call, judge.prefix, judge.candidates + candidates))
            case CancelJudge(call):
                del self.calls[call]
            case Commit():
                self.commit(command)
            case Reject(position, step, verdict):
                assert not verdict.accepted
                assert position == len(self.commits)
                if not self.forget_try(step):
                    assert (position, step) == self.waiting.pop(0)
            case Discard():
                self.discard(command)
            case Warn(message):
                self.reports.append(message)
            case Finished():
                self.finished = command

    def open_lane(self, command: OpenLane) -> None:
        number, role, prefix = command.lane, command.role, command.prefix
        credit, begun, resample = command.credit, command.begun, command.resample
        assert credit >= 1
        drafted = len(prefix) - len(self.text)
        assert command.max_tokens == self.room(drafted)
        if not (self.ahead and role == "target"):
            assert drafted == 0, "a lane must begin at the frontier"
            others = [lane for lane in self.lanes.values() if lane.role == role]
            assert all(resample and lane.resample for lane in others), "two at once"
        assert list(prefix) == self.text + [step.text for _, step in self.waiting[:drafted]]
        if begun:
            assert role == "draft"
            own, _ = self.world.write("target", prefix)
            assert own is not None
            assert own.text.startswith(begun)
        if resample:
            self.raced = self.raced + 1 if others else 1
            assert (role, resample, credit) == ("draft", self.raced, 1)
            assert resample <= self.options.resamples, "more tries than were allowed"
            assert not self.waiting, "a race while drafted steps wait"
        self.lanes[number] = _Lane(role, list(prefix), credit, begun, resample)
        self.keep_busy(number)

    def begin_judging(self, command: Judge) -> None:
        call = command.call
        assert not self.calls, "two judge calls at once"
        if self.ahead:
            places = dict(self.own)
            first = len(self.commits)
            assert command.others == tuple(
                places[first + i].text for i in range(len(command.candidates))
            )
        self.ask(command)
        self.later("judge", Judged(call, self.verdicts(self.calls[call])))

    def discard(self, command: Discard) -> None:
        position, step = command.position, command.step
        if command.source == "draft":
            if not self.forget_try(step):
                self.waiting.remove((position, step))
        else:
            assert self.ahead or position == len(self.commits)
            self.own.remove((position, step))

    def ask(self, judge: Judge) -> None:
        """A new call, or one that has grown."""
        candidates = list(judge.candidates)
        assert list(judge.prefix) == self.text
        if judge.resamples:
            assert candidates == [self.tries[judge.resamples]]
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

    def forget_try(self, step: Step) -> int:
        """The number of the try that wrote it, which is over; 0 if none did."""
        for number, other in self.tries.items():
            if other == step:
                del self.tries[number]
                return number
        return 0

    def commit(self, command: Commit) -> None:
        assert command.position == len(self.commits)
        step = command.step
        if command.source == "draft" and (number := self.forget_try(step)):
            assert self.world.try_again(self.text, number)[0] == step
            assert command.verdict == self.world.verdict(self.text, step, number)
            assert command.verdict.accepted
            assert not any(lane.resample for lane in self.lanes.values()), "the race goes on"
            self.commits.append(command)
            return
        if command.source == "draft":
            assert (command.position, step) == self.waiting.pop(0)
            if command.verdict is not None:  # else the draft is alone
                assert step.ending is not Ending.CAP
                assert command.verdict.accepted
                if command.verdict.reason == "the target wrote the same":
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
