"""Execution of a schedule's commands in virtual time.

The counterpart of `dreamr.runner`, with the same commands, signals and events. It is independent of
the schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import takewhile

from dreamr.errors import Unsupported
from dreamr.evaluation.simulator.clock import Clock
from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import Device, Job
from dreamr.evaluation.simulator.reading import CommittedText, ModelQueues
from dreamr.evaluation.simulator.script import Script
from dreamr.evaluation.simulator.work import Tally, VirtualJudgeCall, VirtualLane
from dreamr.gate import Verdict
from dreamr.runner import event_of
from dreamr.schedules import (
    Commit,
    Decision,
    Finished,
    Judge,
    Judged,
    OpenLane,
    Reject,
    Schedule,
    Signal,
    StepDone,
    WriteAnswer,
    execute,
)
from dreamr.steps import Finish, Role, Step
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


class VirtualRun:
    """One run of a schedule with scripted models in virtual time; an `Executor`.

    Args:
        clock: Virtual time, shared by all runs on the devices.
        devices: Device of each model. The target judges on its own.
        schedule: The schedule to run.
        script: Steps and verdicts of the run.
        costs: Costs of the work, in the unit of the clock.
        finished: Called when the run has ended.
        emit: Receives the events of `dreamr.runner`, timed from the start of the run.

    Attributes:
        tally: Totals of the run.
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
        self._clock, self._schedule, self._script, self._costs = clock, schedule, script, costs
        self._finished, self._emit = finished, emit
        self._queues = ModelQueues(devices, costs, self.tally.busy)
        self._text = CommittedText(costs.judge_token)
        self._lanes: dict[int, VirtualLane] = {}
        self._calls: dict[int, VirtualJudgeCall] = {}
        self._over = False

    def start(self) -> None:
        """Execute the schedule's first commands."""
        execute(self._schedule.start(), self)

    def _signal(self, signal: Signal) -> None:
        if self._costs.message > 0:
            self._clock.after(self._costs.message, lambda: self._deliver(signal))
        else:
            self._deliver(signal)

    def _deliver(self, signal: Signal) -> None:
        if not self._over:
            execute(self._schedule.handle(signal), self)

    def _record(self, kind: type[Event], *values: object) -> None:
        if self._emit is not None:
            self._emit(kind(self._clock.now - self.tally.started, *values))

    # Commands

    def open_lane(self, command: OpenLane) -> None:
        """Start a stream."""
        lane = VirtualLane(
            command.lane,
            command.role,
            len(command.prefix),
            command.credit,
            command.max_tokens,
            bool(command.begun),
            command.resample,
        )
        self._lanes[lane.number] = lane
        self._record(LaneOpened, lane.number, lane.role, lane.position, lane.resample)
        self._write_next(lane)

    def write_answer(self, command: WriteAnswer) -> None:
        """Refuse: answers in a form are not simulated.

        Raises:
            Unsupported: Always.
        """
        raise Unsupported(f"the answer of lane {command.lane} has a form, which is not simulated")

    def grant(self, lane: int, steps: int) -> None:
        """Allow the lane to write more steps."""
        if found := self._lanes.get(lane):
            found.credit += steps
            self._write_next(found)

    def close_lane(self, lane: int) -> None:
        """Cancel the lane."""
        if found := self._lanes.get(lane):
            self._cancel(found)

    def judge(self, command: Judge) -> None:
        """Start a judge call."""
        first, steps = len(command.prefix), list(command.candidates)
        call = VirtualJudgeCall(command.call, first, steps, command.resamples)
        self._calls[call.number] = call
        self._record(JudgeStarted, call.number, call.positions)
        call.job = Job("target", lambda: self._judging(call), lambda: self._end_judging(call))
        call.waits = not self._queues.reads_prompt("target")
        self._queues.submit("target", call.job)

    def extend_judge(self, call: int, candidates: tuple[Step, ...]) -> None:
        """Add candidates to the call if it has not begun."""
        if found := self._calls.get(call):
            found.extend(candidates)

    def cancel_judge(self, call: int) -> None:
        """Cancel the call."""
        if found := self._calls.get(call):
            self._cancel_judging(found)

    def decide(self, decision: Decision) -> None:
        """Record a decision."""
        tally = self.tally
        match decision:
            case Commit(_, step, source):
                tally.steps += 1
                tally.tokens += step.tokens
                tally.wasted -= step.tokens
                tally.accepted += source == "draft"
                self._text.commit(step.tokens, written_by_target=source == "target")
            case Reject():
                tally.rejected += 1
        if self._emit is not None:
            self._emit(event_of(decision, self._clock.now - tally.started))

    def finish(self, finished: Finished) -> None:
        """End the run and cancel prompts that are still being read."""
        self._over = True
        self.tally.ended = self._clock.now
        self._queues.end()
        self._finished()

    # Lanes

    def _write_next(self, lane: VirtualLane) -> None:
        """Begin the lane's next step if it has credit and is not writing."""
        if lane.job is not None:
            return
        now = self._clock.now
        if lane.credit <= 0:
            if lane.paused is None:
                lane.paused = now
                self._record(LanePaused, lane.number)
            return
        step, work, finish = self._next(lane)
        seconds = work * self._seconds_per_token(lane.role) - self._written_ahead(lane)
        if lane.fresh:
            costs = self._costs
            seconds += costs.open_draft if lane.role == "draft" else costs.open_target
        reads_first = lane.fresh and lane.role == "target"
        if lane.paused is not None:
            self._record(LaneResumed, lane.number)
        lane.fresh, lane.paused = False, None
        lane.reading = range(0)

        def size() -> float:
            if reads_first and not job.begun:
                lane.reading = self._unread(lane.position)
            return max(0.0, seconds) + self._text.seconds(lane.reading)

        rate = self._seconds_per_token(lane.role)
        job = Job(lane.role, size, lambda: self._wrote(lane, step, finish), rate)
        self._queues.submit(lane.role, job)
        lane.job, lane.writing = job, step.tokens

    def _decide_without_target(self, lane: VirtualLane) -> Verdict | None:
        """Return the verdict on the last drafted step of the lane if it needs no target."""
        if lane.role == "target":
            return None
        return self._script.decide_without_target(lane.position - 1)

    def _seconds_per_token(self, role: Role) -> float:
        return self._costs.draft if role == "draft" else self._costs.target

    def _next(self, lane: VirtualLane) -> tuple[Step, float, Finish | None]:
        if lane.resample:
            step, work, finish = self._script.resample(lane.position, lane.resample)
        elif lane.completes:
            step, work, finish = self._script.complete(lane.position)
        else:
            step, work, finish = self._script.write(lane.role, lane.position)
        lane.completes = False
        if lane.tokens + step.tokens > lane.room:
            raise Unsupported(
                "the method works on parts of steps, but the simulator needs whole steps: "
                "choose another method"
            )
        return step, work, finish

    def _written_ahead(self, lane: VirtualLane) -> float:
        """Return the seconds of work on the next step that were done before it had credit."""
        if lane.paused is None:
            return 0.0
        return min(
            self._clock.now - lane.paused, self._costs.ahead * self._seconds_per_token(lane.role)
        )

    def _wrote(self, lane: VirtualLane, step: Step, finish: Finish | None) -> None:
        if lane.number not in self._lanes:  # closed by another event at the same time
            return
        if lane.job is not None:
            self.tally.busy[lane.role] += lane.job.size()
        lane.job = None
        self._record(StepReady, lane.number, lane.role, lane.position, step)
        lane.position += 1
        lane.credit -= 1
        lane.tokens += step.tokens
        self.tally.wasted += step.tokens
        if finish is not None:
            del self._lanes[lane.number]
            self._record(LaneClosed, lane.number, finish, lane.tokens)
        self._signal(StepDone(lane.number, step, finish, self._decide_without_target(lane)))
        if lane.number in self._lanes:
            self._write_next(lane)

    def _cancel(self, lane: VirtualLane) -> None:
        del self._lanes[lane.number]
        tokens = lane.tokens
        if lane.job is not None:
            self._queues.withdraw(lane.role, lane.job)
            spent, read = lane.job.spent, self._text.seconds(lane.reading)
            self.tally.busy[lane.role] += spent
            self._text.mark_read(lane.reading, spent)
            if spent > read:
                part = round((spent - read) / (lane.job.size() - read) * lane.writing)
                tokens += part
                self.tally.wasted += part
        self._record(LaneClosed, lane.number, "canceled", tokens)

    def _unread(self, position: int) -> range:
        """Return the committed steps before a position that the target has not read yet."""
        for lane in self._lanes.values():
            if lane.job is not None:
                self._text.mark_read(lane.reading, lane.job.spent)
        return self._text.unread(position)

    # Judge calls

    def _judging(self, call: VirtualJudgeCall) -> float:
        """Return the seconds of the call and fix its candidates."""
        if not call.begun:
            call.begun, call.reading = True, self._unread(call.first)
        tokens = sum(step.tokens for step in call.steps)
        return self._text.seconds(call.reading) + self._costs.judging(len(call.steps), tokens)

    def _end_judging(self, call: VirtualJudgeCall) -> None:
        if call.number not in self._calls:  # canceled by another event at the same time
            return
        verdicts = tuple(
            self._script.verdict(call.first + i, call.resamples) for i in range(len(call.steps))
        )
        self._close_call(call, verdicts)
        if call.job is not None:
            self.tally.busy["judge"] += call.job.size()
        accepted = takewhile(lambda verdict: verdict.accepted, verdicts)
        self._text.mark_seen(call.first + len(list(accepted)))
        self._signal(Judged(call.number, verdicts))

    def _cancel_judging(self, call: VirtualJudgeCall) -> None:
        self._close_call(call, ())
        if call.job is not None:
            self._queues.withdraw("target", call.job)
            self.tally.busy["judge"] += call.job.spent
            self._text.mark_read(call.reading, call.job.spent)

    def _close_call(self, call: VirtualJudgeCall, verdicts: tuple[Verdict, ...]) -> None:
        del self._calls[call.number]
        self.tally.judge_calls += 1
        self._record(JudgeEnded, call.number, call.positions, verdicts, None)
