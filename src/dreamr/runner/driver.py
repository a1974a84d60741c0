"""Carrying out what a schedule says, over real engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import anyio

from dreamr.conversation import Conversation, Image
from dreamr.engines import Context, Engine
from dreamr.errors import DreamrError, EngineError, EngineLost
from dreamr.gate import StepContext, Verdict
from dreamr.runner.config import RunConfig
from dreamr.runner.lanes import JudgeCall, Lane, StepStream
from dreamr.runner.recorder import Recorder
from dreamr.runner.signal_queue import SignalQueue
from dreamr.schedules import (
    Decision,
    Finished,
    Judge,
    Judged,
    JudgeFailed,
    LaneEnded,
    LaneFailed,
    OpenLane,
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
    Result,
    RunStarted,
    StepReady,
)


class Driver:
    """One run: an `Executor` whose lanes and judge calls are tasks; the schedule decides.

    emit: called with each event as it happens; it must not wait.
    """

    def __init__(
        self,
        conversation: Conversation,
        engines: dict[Role, Engine],
        schedule: Schedule,
        config: RunConfig,
        emit: Callable[[Event], None],
    ) -> None:
        self._conversation = conversation
        self._engines = engines
        self._schedule = schedule
        self._config = config
        self._recorder = Recorder(emit)
        self._lanes: dict[int, Lane] = {}
        self._calls: dict[int, JudgeCall] = {}
        self._watching = anyio.CancelScope()
        self._finished: Finished | None = None

    async def drive(self) -> Result:
        """Run to the end; every lane and call is over before this returns."""
        self._begin()
        signals = SignalQueue[Signal]()
        self._signal = signals.put
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._watch)
            execute(self._schedule.start(), self)
            while self._finished is None:
                execute(self._schedule.handle(await signals.get()), self)
            self._watching.cancel()
        assert self._finished is not None  # for mypy: a task group swallows no exception
        return self._recorder.finish(self._finished, self._config.step_format)

    def _begin(self) -> None:
        draft, target = self._engines.get("draft"), self._engines.get("target")
        config = self._config
        self._recorder.add(
            RunStarted,
            config.method,
            draft.name if draft is not None else None,
            target.name if target is not None else None,
            config.summary(),
        )

    # Commands

    def open_lane(self, command: OpenLane) -> None:
        position = len(command.prefix)
        lane = Lane(command.lane, command.role, position, command.credit, command.resample)
        self._lanes[lane.number] = lane
        self._recorder.add(LaneOpened, lane.number, lane.role, position, lane.resample)
        self._tasks.start_soon(self._write, lane, command)

    def grant(self, lane: int, steps: int) -> None:
        if found := self._lanes.get(lane):
            found.grant(steps)

    def close_lane(self, lane: int) -> None:
        if found := self._lanes.get(lane):
            found.scope.cancel()

    def judge(self, command: Judge) -> None:
        config = self._config
        query = replace(config.gate.query, others=command.others, unasked=config.unasked)
        if command.resamples:  # the gate asks for more than it says at first
            query = replace(query, target_confidence=None)
        call = JudgeCall(command.call, command.prefix, command.candidates, query, command.resamples)
        self._calls[call.number] = call
        self._recorder.add(JudgeStarted, call.number, call.positions())
        self._tasks.start_soon(self._judge, call)

    def extend_judge(self, call: int, candidates: tuple[Step, ...]) -> None:
        if found := self._calls.get(call):
            found.extend(candidates)

    def cancel_judge(self, call: int) -> None:
        if found := self._calls.get(call):
            found.scope.cancel()

    def decide(self, decision: Decision) -> None:
        self._recorder.decide(decision)

    def finish(self, finished: Finished) -> None:
        self._finished = finished

    # Lanes

    async def _write(self, lane: Lane, command: OpenLane) -> None:
        """One lane, from its opening to its end, whatever that is."""
        reason = "cancelled"
        try:
            with lane.scope:
                reason = await self._stream(lane, command)
            if lane.stalled:
                raise TimeoutError
        except Exception as error:  # a defect of an engine must not take the other one down
            reason = "failed"
            message, lost = self._describe(lane.role, error)
            self._signal(LaneFailed(lane.number, message, lost))
        finally:
            began = None if lane.began is None else self._recorder.at(lane.began)
            self._recorder.add(LaneClosed, lane.number, reason, lane.tokens, began)
            del self._lanes[lane.number]

    async def _stream(self, lane: Lane, command: OpenLane) -> Finish:
        engine, config = self._engines[lane.role], self._config
        self._check_images(engine)

        def on_step(step: Step | None, finish: Finish | None) -> None:
            if step is not None:
                self._recorder.add(StepReady, lane.number, lane.role, lane.position, step)
                self._signal(
                    StepDone(lane.number, step, finish, self._decide_without_target(lane, step))
                )
                lane.position += 1
            elif finish is not None:
                self._signal(LaneEnded(lane.number, finish))

        def on_pause(paused: bool) -> None:
            self._recorder.add(LanePaused if paused else LaneResumed, lane.number)

        begun = (command.begun,) if command.begun else ()
        context = Context(self._conversation, command.prefix + begun)
        # A draft says how sure it is, where it can: gates may need no more.
        tells = lane.role == "draft" and engine.capabilities.logprobs
        sampling = config.draws(command, logprobs=tells)
        stream = StepStream(lane, config.step_format, on_step, on_pause, command.begun)
        return await stream.run(engine.stream(context, sampling))

    def _decide_without_target(self, lane: Lane, step: Step) -> Verdict | None:
        """The verdict on a drafted step that needs no target."""
        if lane.role != "draft":
            return None
        return self._config.gate.decide_without_target(
            StepContext(step, lane.position, lane.resample)
        )

    async def _watch(self) -> None:
        """One clock for all work, since a timer a token would cost more than all the rest."""
        seconds = self._config.stall_seconds
        with self._watching:
            while True:
                await anyio.sleep(seconds / 4)
                for work in (*self._lanes.values(), *self._calls.values()):
                    work.check(seconds)

    # Judge calls

    async def _judge(self, call: JudgeCall) -> None:
        """One judge call, from its start to its end, whatever that is."""
        verdicts: tuple[Verdict, ...] = ()
        message = None
        try:
            with call.scope:
                verdicts = await self._verdicts(call)
                self._signal(Judged(call.number, verdicts))
            if call.stalled and not verdicts:
                raise TimeoutError
        except Exception as error:  # no verdict is a reject, and no end of the run
            message, lost = self._describe("target", error)
            self._signal(JudgeFailed(call.number, message, lost))
        finally:
            positions = call.positions(len(verdicts))
            self._recorder.add(JudgeEnded, call.number, positions, verdicts, message)
            del self._calls[call.number]

    async def _verdicts(self, call: JudgeCall) -> tuple[Verdict, ...]:
        context = Context(self._conversation, call.prefix)
        least = len(call.steps)
        found = await self._engines["target"].judge(context, call.candidates, call.query)
        if not least <= len(found) <= len(call.steps):
            raise EngineError(f"{len(found)} pieces of evidence for {least} steps")
        decide, first = self._config.gate.decide, len(call.prefix)
        return tuple(
            decide(evidence, StepContext(step, first + i, call.resamples))
            for i, (evidence, step) in enumerate(zip(found, call.steps, strict=False))
        )

    def _check_images(self, engine: Engine) -> None:
        parts = (part for turn in self._conversation.turns for part in turn.parts)
        if not engine.capabilities.images and any(isinstance(part, Image) for part in parts):
            raise EngineLost("it takes no images")

    def _describe(self, role: Role, error: Exception) -> tuple[str, bool]:
        """A failure in one line, and whether the engine is lost with it."""
        name = self._engines[role].name
        if isinstance(error, TimeoutError):
            return f"{role} {name}: no sign of life for {self._config.stall_seconds:g} s", True
        what = str(error) if isinstance(error, DreamrError) else repr(error)
        return f"{role} {name}: {what}", isinstance(error, EngineLost)
