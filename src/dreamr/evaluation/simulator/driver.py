"""Carrying out the commands of a schedule in virtual time.

The counterpart of `dreamr.runner`: the same commands, the same signals, the same events. It knows
nothing about any schedule.
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
    """One run of a schedule over virtual models: an `Executor`.

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
        self._clock, self._schedule, self._script, self._costs = clock, schedule, script, costs
        self._finished, self._emit = finished, emit
        self._queues = ModelQueues(devices, costs, self.tally.busy)
        self._text = CommittedText(costs.judge_token)
        self._lanes: dict[int, VirtualLane] = {}
        self._calls: dict[int, VirtualJudgeCall] = {}
        self._over = False

    def start(self) -> None:
        """Put the first work on the devices."""
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
        self._go_on(lane)

    def grant(self, lane: int, steps: int) -> None:
        if found := self._lanes.get(lane):
            found.credit += steps
            self._go_on(found)

    def close_lane(self, lane: int) -> None:
        if found := self._lanes.get(lane):
            self._cancel(found)

    def judge(self, command: Judge) -> None:
        first, steps = len(command.prefix), list(command.candidates)
        call = VirtualJudgeCall(command.call, first, steps, command.resamples)
        self._calls[call.number] = call
        self._record(JudgeStarted, call.number, call.positions)
        call.job = Job("target", lambda: self._judging(call), lambda: self._end_judging(call))
        call.waits = not self._queues.reads_prompt("target")
        self._queues.submit("target", call.job)

    def extend_judge(self, call: int, candidates: tuple[Step, ...]) -> None:
        if found := self._calls.get(call):
            found.extend(candidates)

    def cancel_judge(self, call: int) -> None:
        if found := self._calls.get(call):
            self._cancel_judging(found)

    def decide(self, decision: Decision) -> None:
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
        self._over = True
        self.tally.ended = self._clock.now
        self._queues.end()
        self._finished()

    # Lanes

    def _go_on(self, lane: VirtualLane) -> None:
        """Write the next step, if there is credit for it and none is being written."""
        if lane.job is not None:
            return
        now = self._clock.now
        if lane.credit <= 0:
            if lane.paused is None:
                lane.paused = now
                self._record(LanePaused, lane.number)
            return
        step, work, finish = self._next(lane)
        seconds = work * self._rate(lane.role) - self._written_ahead(lane)
        if lane.fresh:
            costs = self._costs
            seconds += costs.open_draft if lane.role == "draft" else costs.open_target
        catches_up = lane.fresh and lane.role == "target"
        if lane.paused is not None:
            self._record(LaneResumed, lane.number)
        lane.fresh, lane.paused = False, None
        lane.reading = range(0)

        def size() -> float:
            if catches_up and not job.begun:
                lane.reading = self._unread(lane.position)
            return max(0.0, seconds) + self._text.seconds(lane.reading)

        job = Job(lane.role, size, lambda: self._wrote(lane, step, finish), self._rate(lane.role))
        self._queues.submit(lane.role, job)
        lane.job, lane.writing = job, step.tokens

    def _decide_without_target(self, lane: VirtualLane) -> Verdict | None:
        """The verdict on the drafted step that the lane has just written, if it needs no target."""
        if lane.role == "target":
            return None
        return self._script.decide_without_target(lane.position - 1)

    def _rate(self, role: Role) -> float:
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
            raise Unsupported("the method cuts steps into tokens: the simulator knows whole steps")
        return step, work, finish

    def _written_ahead(self, lane: VirtualLane) -> float:
        """Seconds of the next step that were spent before there was credit for it."""
        if lane.paused is None:
            return 0.0
        return min(self._clock.now - lane.paused, self._costs.ahead * self._rate(lane.role))

    def _wrote(self, lane: VirtualLane, step: Step, finish: Finish | None) -> None:
        if lane.number not in self._lanes:  # closed by what happened at the very same time
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
            self._go_on(lane)

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
        self._record(LaneClosed, lane.number, "cancelled", tokens)

    def _unread(self, position: int) -> range:
        """Steps before a position that the target has yet to read, as a job begins."""
        for lane in self._lanes.values():
            if lane.job is not None:
                self._text.mark_read(lane.reading, lane.job.spent)
        return self._text.unread(position)

    # Judge calls

    def _judging(self, call: VirtualJudgeCall) -> float:
        """Seconds of the call; from now on it cannot grow."""
        if not call.begun:
            call.begun, call.reading = True, self._unread(call.first)
        tokens = sum(step.tokens for step in call.steps)
        return self._text.seconds(call.reading) + self._costs.judging(len(call.steps), tokens)

    def _end_judging(self, call: VirtualJudgeCall) -> None:
        if call.number not in self._calls:  # cancelled by what happened at the very same time
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
