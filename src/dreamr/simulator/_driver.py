"""Carrying out what a schedule says, in virtual time.

The counterpart of `dreamr.runner`: the same commands, the same signals, the same events. It knows
nothing about any schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dreamr.errors import Unsupported
from dreamr.gate import Verdict
from dreamr.runner import decision
from dreamr.schedules import (
    CancelJudge,
    CloseLane,
    Command,
    Commit,
    Discard,
    Extend,
    Finish,
    Finished,
    Grant,
    Judge,
    Judged,
    OpenLane,
    Reject,
    Report,
    Role,
    Schedule,
    Signal,
    StepDone,
)
from dreamr.simulator._clock import Clock
from dreamr.simulator._costs import Costs
from dreamr.simulator._devices import Device, Job
from dreamr.simulator._script import Script
from dreamr.steps import Step
from dreamr.trace import (
    Event,
    JudgeEnded,
    JudgeStarted,
    LaneClosed,
    LaneOpened,
    LanePaused,
    LaneResumed,
    StepReady,
)


@dataclass(eq=False, slots=True)
class _Lane:
    """completes: whether its first step has been begun by the target. paused: since when it has had
    no credit. job: what it is writing, None while it waits.
    """

    number: int
    role: Role
    position: int
    credit: int
    room: int
    completes: bool = False
    retry: int = 0
    tokens: int = 0
    fresh: bool = True
    paused: float | None = None
    job: Job | None = None
    writing: int = 0  # tokens of the step that it writes


@dataclass(eq=False, slots=True)
class _Question:
    call: int
    first: int
    steps: list[Step]
    retries: int = 0
    job: Job | None = None
    begun: bool = False


@dataclass(eq=False, slots=True)
class _Reading:
    """The question is being read; waiting: for that."""

    job: Job
    waiting: list[Job]


@dataclass(slots=True)
class Tally:
    """What a run came to. tokens: of the committed text; wasted: written and not committed.

    busy: seconds of work of the draft, the target and the judge, alone on their devices.
    """

    started: float = 0.0
    ended: float = 0.0
    steps: int = 0
    tokens: int = 0
    accepted: int = 0
    rejected: int = 0
    judge_calls: int = 0
    wasted: int = 0
    busy: dict[str, float] = field(
        default_factory=lambda: {"draft": 0.0, "target": 0.0, "judge": 0.0}
    )

    @property
    def seconds(self) -> float:
        return self.ended - self.started


class VirtualRun:
    """One run of a schedule over virtual models.

    devices: of either model; the target judges on its own. finished: called at the end. emit: takes
    the events, with seconds since the run started, as `dreamr.runner` gives them.
    """

    def __init__(
        self,
        clock: Clock,
        devices: Mapping[Role, Device],
        schedule: Schedule,
        script: Script,
        costs: Costs,
        finished: Callable[[], None] = lambda: None,
        emit: Callable[[Event], None] | None = None,
    ) -> None:
        self.tally = Tally(started=clock.now)
        self._clock, self._devices, self._schedule = clock, devices, schedule
        self._script, self._costs = script, costs
        self._finished, self._emit = finished, emit
        self._lanes: dict[int, _Lane] = {}
        self._calls: dict[int, _Question] = {}
        self._reading: dict[Role, _Reading] = {}
        self._read: set[Role] = set()
        self._committed: list[int] = []  # tokens of each step
        self._seen = 0  # how many of these the target has read, or written
        self._over = False

    def start(self) -> None:
        """Put the first work on the devices."""
        self._carry_out(self._schedule.start())

    # Signals and commands

    def _signal(self, signal: Signal) -> None:
        if self._costs.message > 0:
            self._clock.after(self._costs.message, lambda: self._hear(signal))
        else:
            self._hear(signal)

    def _hear(self, signal: Signal) -> None:
        if not self._over:
            self._carry_out(self._schedule.handle(signal))

    def _carry_out(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case OpenLane():
                    self._open(command)
                case Grant(number, steps):
                    if lane := self._lanes.get(number):
                        lane.credit += steps
                        self._go_on(lane)
                case CloseLane(number):
                    if lane := self._lanes.get(number):
                        self._cancel(lane)
                case Judge():
                    self._ask(command)
                case Extend(call, steps):
                    if (question := self._calls.get(call)) and not question.begun:
                        question.steps.extend(steps)
                case CancelJudge(call):
                    if question := self._calls.get(call):
                        self._end_judging(question, cancelled=True)
                case Commit() | Reject() | Discard() | Report():
                    self._decide(command)
                case Finished():
                    self._end()
                case _:
                    what = type(command).__name__
                    raise Unsupported(f"the simulator cannot carry out {what}: measure it instead")

    def _decide(self, command: Commit | Reject | Discard | Report) -> None:
        tally = self.tally
        match command:
            case Commit(position, step, source):
                tally.steps += 1
                tally.tokens += step.tokens
                tally.wasted -= step.tokens
                tally.accepted += source == "draft"
                self._committed.append(step.tokens)
                if source == "target" or self._script.at(position).same:
                    self._has_seen(len(self._committed))
            case Reject():
                tally.rejected += 1
        if self._emit is not None:
            self._emit(decision(self._clock.now - tally.started, command))

    def _catching_up(self) -> float:
        """Seconds in which the target reads what was committed without it."""
        return self._costs.judge_token * sum(self._committed[self._seen :])

    def _has_seen(self, steps: int) -> None:
        self._seen = max(self._seen, steps)

    def _note(self, kind: type[Event], *values: object) -> None:
        if self._emit is not None:
            self._emit(kind(self._clock.now - self.tally.started, *values))

    def _end(self) -> None:
        self._over = True
        self.tally.ended = self._clock.now
        for role, reading in self._reading.items():  # of a target that was not needed
            self._devices[role].withdraw(reading.job)
        self._finished()

    # Lanes

    def _open(self, command: OpenLane) -> None:
        lane = _Lane(
            command.lane,
            command.role,
            len(command.prefix),
            command.credit,
            command.max_tokens,
            bool(command.begun),
            command.retry,
        )
        self._lanes[lane.number] = lane
        self._note(LaneOpened, lane.number, lane.role, lane.position, lane.retry)
        self._go_on(lane)

    def _go_on(self, lane: _Lane) -> None:
        """Write the next step, if there is credit for it and none is under way."""
        if lane.job is not None:
            return
        now = self._clock.now
        if lane.credit <= 0:
            if lane.paused is None:
                lane.paused = now
                self._note(LanePaused, lane.number)
            return
        step, work, finish = self._next(lane)
        seconds = work * self._rate(lane.role) - self._written_ahead(lane)
        if lane.fresh:
            costs = self._costs
            seconds += costs.open_draft if lane.role == "draft" else costs.open_target
            if lane.role == "target":
                seconds += self._catching_up()
        if lane.paused is not None:
            self._note(LaneResumed, lane.number)
        lane.fresh, lane.paused = False, None
        read = len(self._committed)

        def size() -> float:
            if lane.role == "target" and job.begun:
                self._has_seen(read)
            return max(0.0, seconds)

        job = Job(lane.role, size, lambda: self._wrote(lane, step, finish), self._rate(lane.role))
        self._submit(lane.role, job)
        lane.job, lane.writing = job, step.tokens

    def _at_once(self, lane: _Lane) -> Verdict | None:
        """The verdict on the drafted step that the lane has just written, if it needs no target."""
        if lane.role == "target" or lane.retry:
            return None
        return self._script.at_once(lane.position - 1)

    def _rate(self, role: Role) -> float:
        return self._costs.draft if role == "draft" else self._costs.target

    def _next(self, lane: _Lane) -> tuple[Step, float, Finish | None]:
        if lane.retry:
            step, work, finish = self._script.try_again(lane.position, lane.retry)
        elif lane.completes:
            step, work, finish = self._script.complete(lane.position)
        else:
            step, work, finish = self._script.write(lane.role, lane.position)
        lane.completes = False
        if lane.tokens + step.tokens > lane.room:
            raise Unsupported("the method cuts steps into tokens: the simulator knows whole steps")
        return step, work, finish

    def _written_ahead(self, lane: _Lane) -> float:
        """Seconds of the next step that were spent before there was credit for it."""
        if lane.paused is None:
            return 0.0
        return min(self._clock.now - lane.paused, self._costs.ahead * self._rate(lane.role))

    def _wrote(self, lane: _Lane, step: Step, finish: Finish | None) -> None:
        if lane.number not in self._lanes:  # closed by what happened at the very same time
            return
        self._count(lane.role, lane.job)
        lane.job = None
        self._note(StepReady, lane.number, lane.role, lane.position, step)
        lane.position += 1
        lane.credit -= 1
        lane.tokens += step.tokens
        self.tally.wasted += step.tokens
        if finish is not None:
            del self._lanes[lane.number]
            self._note(LaneClosed, lane.number, finish, lane.tokens)
        self._signal(StepDone(lane.number, step, finish, self._at_once(lane)))
        if lane.number in self._lanes:
            self._go_on(lane)

    def _cancel(self, lane: _Lane) -> None:
        del self._lanes[lane.number]
        tokens = lane.tokens
        if lane.job is not None:
            size = lane.job.size()
            done = 1 - lane.job.left / size if lane.job.begun and size > 0 else 0.0
            part = round(done * lane.writing)
            self._count(lane.role, lane.job, done)
            tokens += part
            self.tally.wasted += part
            self._withdraw(lane.role, lane.job)
        self._note(LaneClosed, lane.number, "cancelled", tokens)

    # Judging

    def _ask(self, command: Judge) -> None:
        first, steps = len(command.prefix), list(command.candidates)
        question = _Question(command.call, first, steps, command.retries)
        self._calls[question.call] = question
        self._note(JudgeStarted, question.call, _positions(question))
        before, read = self._catching_up(), len(self._committed)

        def size() -> float:
            question.begun = True
            self._has_seen(read)
            tokens = sum(step.tokens for step in question.steps)
            return before + self._costs.judging(len(question.steps), tokens)

        job = Job("target", size, lambda: self._end_judging(question))
        question.job = job
        self._submit("target", job)

    def _end_judging(self, question: _Question, cancelled: bool = False) -> None:
        if question.call not in self._calls:  # cancelled by what happened at the very same time
            return
        del self._calls[question.call]
        self.tally.judge_calls += 1
        count = 0 if cancelled else len(question.steps)
        verdicts = tuple(
            self._script.verdict(question.first + i, question.retries) for i in range(count)
        )
        self._note(JudgeEnded, question.call, _positions(question), verdicts, None)
        job = question.job
        if question.begun and job is not None:
            self.tally.busy["judge"] += job.size()
        if cancelled:
            if job is not None:
                self._withdraw("target", job)
            return
        self._has_seen(question.first + sum(verdict.accepted for verdict in verdicts))
        self._signal(Judged(question.call, verdicts))

    # Devices

    def _submit(self, role: Role, job: Job) -> None:
        """Hand the job to its device, once the question has been read there."""
        if role in self._read:
            self._devices[role].submit(job)
            return
        if role in self._reading:
            self._reading[role].waiting.append(job)
            return
        costs = self._costs
        seconds = costs.prompt_draft if role == "draft" else costs.prompt_target
        if seconds <= 0:
            self._read.add(role)
            self._devices[role].submit(job)
            return
        reading = Job(role, lambda: seconds, lambda: self._has_read(role))
        self._reading[role] = _Reading(reading, [job])
        self.tally.busy[role] += seconds
        self._devices[role].submit(reading)

    def _has_read(self, role: Role) -> None:
        self._read.add(role)
        for job in self._reading.pop(role).waiting:
            self._devices[role].submit(job)

    def _withdraw(self, role: Role, job: Job) -> None:
        reading = self._reading.get(role)
        if reading is not None and job in reading.waiting:
            reading.waiting.remove(job)
        else:
            self._devices[role].withdraw(job)

    def _count(self, role: Role, job: Job | None, share: float = 1.0) -> None:
        if job is not None:
            self.tally.busy[role] += share * job.size()


def _positions(question: _Question) -> tuple[int, ...]:
    return tuple(range(question.first, question.first + len(question.steps)))
