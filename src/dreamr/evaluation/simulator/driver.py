"""Carrying out what a schedule says, in virtual time.

The counterpart of `dreamr.runner`: the same commands, the same signals, the same events. It knows
nothing about any schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from dreamr.errors import Unsupported
from dreamr.evaluation.simulator.clock import Clock
from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import Device, Job
from dreamr.evaluation.simulator.script import Script
from dreamr.gate import Verdict
from dreamr.runner import decision
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
    OpenLane,
    Reject,
    Role,
    Schedule,
    Signal,
    StepDone,
    Warn,
)
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

_ROUNDING = 1e-12  # seconds


@dataclass(eq=False, slots=True)
class _Lane:
    """completes: whether its first step has been begun by the target. paused: since when it has had
    no credit. job: what it is writing, None while it waits. reading: what of the committed text the
    target reads for that, fixed when it begins.
    """

    number: int
    role: Role
    position: int
    credit: int
    room: int
    completes: bool = False
    resample: int = 0
    tokens: int = 0
    fresh: bool = True
    paused: float | None = None
    job: Job | None = None
    writing: int = 0  # tokens of the step that it writes
    reading: range = range(0)


@dataclass(eq=False, slots=True)
class _Question:
    """waits: for its turn, and can grow meanwhile; a call that reads the question itself cannot."""

    call: int
    first: int
    steps: list[Step]
    resamples: int = 0
    job: Job | None = None
    waits: bool = True
    begun: bool = False
    reading: range = range(0)


@dataclass(eq=False, slots=True)
class _Prompt:
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
        self._prompts: dict[Role, _Prompt] = {}
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
                case GrantSteps(number, steps):
                    if lane := self._lanes.get(number):
                        lane.credit += steps
                        self._go_on(lane)
                case CloseLane(number):
                    if lane := self._lanes.get(number):
                        self._cancel(lane)
                case Judge():
                    self._ask(command)
                case ExtendJudge(call, steps):
                    if (
                        (question := self._calls.get(call))
                        and question.waits
                        and not question.begun
                    ):
                        question.steps.extend(steps)
                case CancelJudge(call):
                    if question := self._calls.get(call):
                        self._end_judging(question, cancelled=True)
                case Commit() | Reject() | Discard() | Warn():
                    self._decide(command)
                case Finished():
                    self._end()
                case _:
                    what = type(command).__name__
                    raise Unsupported(f"the simulator cannot carry out {what}: measure it instead")

    def _decide(self, command: Commit | Reject | Discard | Warn) -> None:
        tally = self.tally
        match command:
            case Commit(_, step, source):
                tally.steps += 1
                tally.tokens += step.tokens
                tally.wasted -= step.tokens
                tally.accepted += source == "draft"
                self._committed.append(step.tokens)
                if source == "target":
                    self._mark_seen(len(self._committed))
            case Reject():
                tally.rejected += 1
        if self._emit is not None:
            self._emit(decision(self._clock.now - tally.started, command))

    def _unread(self, position: int) -> range:
        """Steps before a position that the target has yet to read, as a job begins."""
        for lane in self._lanes.values():
            if lane.job is not None:
                self._mark_read(lane.reading, lane.job.spent)
        return range(min(self._seen, position), position)

    def _reading(self, steps: range) -> float:
        """Seconds in which the target reads these."""
        return self._costs.judge_token * sum(self._committed[steps.start : steps.stop])

    def _mark_seen(self, steps: int) -> None:
        self._seen = max(self._seen, steps)

    def _mark_read(self, steps: range, seconds: float) -> None:
        """So long it has read; what is not read whole is read again."""
        for step in steps:
            seconds -= self._reading(range(step, step + 1))
            if seconds < -_ROUNDING:
                break
            self._mark_seen(step + 1)

    def _note(self, kind: type[Event], *values: object) -> None:
        if self._emit is not None:
            self._emit(kind(self._clock.now - self.tally.started, *values))

    def _end(self) -> None:
        self._over = True
        self.tally.ended = self._clock.now
        for role, prompt in self._prompts.items():  # of a model that was not needed
            self._give_up(role, prompt.job)
            self.tally.busy[role] += prompt.job.spent
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
            command.resample,
        )
        self._lanes[lane.number] = lane
        self._note(LaneOpened, lane.number, lane.role, lane.position, lane.resample)
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
        catches_up = lane.fresh and lane.role == "target"
        if lane.paused is not None:
            self._note(LaneResumed, lane.number)
        lane.fresh, lane.paused = False, None
        lane.reading = range(0)

        def size() -> float:
            if catches_up and not job.begun:
                lane.reading = self._unread(lane.position)
            return max(0.0, seconds) + self._reading(lane.reading)

        job = Job(lane.role, size, lambda: self._wrote(lane, step, finish), self._rate(lane.role))
        self._submit(lane.role, job)
        lane.job, lane.writing = job, step.tokens

    def _decide_without_target(self, lane: _Lane) -> Verdict | None:
        """The verdict on the drafted step that the lane has just written, if it needs no target."""
        if lane.role == "target":
            return None
        return self._script.decide_without_target(lane.position - 1)

    def _rate(self, role: Role) -> float:
        return self._costs.draft if role == "draft" else self._costs.target

    def _next(self, lane: _Lane) -> tuple[Step, float, Finish | None]:
        if lane.resample:
            step, work, finish = self._script.try_again(lane.position, lane.resample)
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
        if lane.job is not None:
            self.tally.busy[lane.role] += lane.job.size()
        lane.job = None
        self._note(StepReady, lane.number, lane.role, lane.position, step)
        lane.position += 1
        lane.credit -= 1
        lane.tokens += step.tokens
        self.tally.wasted += step.tokens
        if finish is not None:
            del self._lanes[lane.number]
            self._note(LaneClosed, lane.number, finish, lane.tokens)
        self._signal(StepDone(lane.number, step, finish, self._decide_without_target(lane)))
        if lane.number in self._lanes:
            self._go_on(lane)

    def _cancel(self, lane: _Lane) -> None:
        del self._lanes[lane.number]
        tokens = lane.tokens
        if lane.job is not None:
            self._give_up(lane.role, lane.job)
            spent, read = lane.job.spent, self._reading(lane.reading)
            self.tally.busy[lane.role] += spent
            self._mark_read(lane.reading, spent)
            if spent > read:
                part = round((spent - read) / (lane.job.size() - read) * lane.writing)
                tokens += part
                self.tally.wasted += part
        self._note(LaneClosed, lane.number, "cancelled", tokens)

    # Judging

    def _ask(self, command: Judge) -> None:
        first, steps = len(command.prefix), list(command.candidates)
        question = _Question(command.call, first, steps, command.resamples)
        self._calls[question.call] = question
        self._note(JudgeStarted, question.call, _positions(question))

        def size() -> float:
            if not question.begun:
                question.begun, question.reading = True, self._unread(first)
            tokens = sum(step.tokens for step in question.steps)
            judging = self._costs.judging(len(question.steps), tokens)
            return self._reading(question.reading) + judging

        job = Job("target", size, lambda: self._end_judging(question))
        question.job = job
        question.waits = self._costs.prompt_target <= 0 or self._reads("target")
        self._submit("target", job)

    def _end_judging(self, question: _Question, cancelled: bool = False) -> None:
        if question.call not in self._calls:  # cancelled by what happened at the very same time
            return
        del self._calls[question.call]
        self.tally.judge_calls += 1
        count = 0 if cancelled else len(question.steps)
        verdicts = tuple(
            self._script.verdict(question.first + i, question.resamples) for i in range(count)
        )
        self._note(JudgeEnded, question.call, _positions(question), verdicts, None)
        job = question.job
        if cancelled:
            if job is not None:
                self._give_up("target", job)
                self.tally.busy["judge"] += job.spent
                self._mark_read(question.reading, job.spent)
            return
        if job is not None:
            self.tally.busy["judge"] += job.size()
        accepted = takewhile(lambda verdict: verdict.accepted, verdicts)
        self._mark_seen(question.first + len(list(accepted)))
        self._signal(Judged(question.call, verdicts))

    # Devices

    def _submit(self, role: Role, job: Job) -> None:
        """Hand the job to its device, once the question has been read there."""
        if role in self._read:
            self._devices[role].submit(job)
            return
        if role in self._prompts:
            self._prompts[role].waiting.append(job)
            return
        costs = self._costs
        seconds = costs.prompt_draft if role == "draft" else costs.prompt_target
        if seconds <= 0:
            self._read.add(role)
            self._devices[role].submit(job)
            return
        reading = Job(role, lambda: seconds, lambda: self._has_read(role))
        self._prompts[role] = _Prompt(reading, [job])
        self._devices[role].submit(reading)

    def _reads(self, role: Role) -> bool:
        """Whether it has read the question, or is about to."""
        return role in self._read or role in self._prompts

    def _has_read(self, role: Role) -> None:
        self._read.add(role)
        prompt = self._prompts.pop(role)
        self.tally.busy[role] += prompt.job.size()
        for job in prompt.waiting:
            self._devices[role].submit(job)

    def _give_up(self, role: Role, job: Job) -> None:
        prompt = self._prompts.get(role)
        if prompt is not None and job in prompt.waiting:
            prompt.waiting.remove(job)
        else:
            self._devices[role].withdraw(job)


def _positions(question: _Question) -> tuple[int, ...]:
    return tuple(range(question.first, question.first + len(question.steps)))
