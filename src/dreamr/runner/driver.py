"""Execute the commands of a schedule over real engines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import anyio

from dreamr._messages import describe
from dreamr.conversation import Conversation
from dreamr.engines import AnswersInForm, Context, Engine
from dreamr.engines.protocol import Routed
from dreamr.errors import ContextTooLong, DreamrError, EngineLost
from dreamr.gate import StepContext, Verdict
from dreamr.runner.answering import AnswerLane
from dreamr.runner.config import RunConfig
from dreamr.runner.deadline_watch import DeadlineWatch
from dreamr.runner.lanes import JudgeCall, Lane, StepStream
from dreamr.runner.recorder import Recorder
from dreamr.runner.requirements import dtypes_of, rounding_notes, unreadable
from dreamr.runner.signal_queue import SignalQueue
from dreamr.runner.step_judge import StepJudge
from dreamr.runner.stopping import StopSearch, until_stop
from dreamr.schedules import (
    CONTEXT_FULL,
    Decision,
    Finished,
    Judge,
    Judged,
    JudgeFailed,
    JudgeLate,
    LaneEnded,
    LaneFailed,
    OpenLane,
    Schedule,
    Signal,
    StepDone,
    Warn,
    WriteAnswer,
    execute,
)
from dreamr.steps import Finish, Role, Step, StepHistory
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
    SpeechTranscribed,
    StepReady,
)

_LATE = 2.0  # times its usual duration after which a judge call is late


class Driver:
    """An `Executor` that runs each lane and judge call of one run as a task."""

    def __init__(
        self,
        conversations: Mapping[Role, Conversation],
        engines: dict[Role, Engine],
        schedule: Schedule,
        config: RunConfig,
        emit: Callable[[Event], None],
    ) -> None:
        """Prepare a run.

        Args:
            conversations: The problem as the model of each role gets it.
            engines: Engines of the roles that the method uses.
            schedule: A fresh schedule.
            config: Configuration of the run.
            emit: Called with each event; must not block.
        """
        self._conversations = conversations
        self._engines = engines
        self._schedule = schedule
        self._config = config
        self._lanes: dict[int, Lane] = {}
        self._recorder = Recorder(emit if config.deadline is None else self._emit_seen)
        self._emit = emit
        self._deadline: DeadlineWatch | None = None
        if config.deadline is not None:
            self._deadline = DeadlineWatch(config.deadline, self._recorder, self._lanes)
        self._calls: dict[int, JudgeCall] = {}
        self._watching = anyio.CancelScope()
        self._step_judge = StepJudge(
            conversations,
            engines,
            config.gate,
            config.stall_seconds,
            self._on_draft_failure,
            config.lead_of,
        )
        self._warned = False  # whether the user knows that the target does not answer
        self._finished: Finished | None = None

    async def drive(self) -> Result:
        """Run to the end; all lanes and judge calls are closed when this returns."""
        self._begin()
        signals = SignalQueue[Signal]()
        self._signal = signals.put
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._watch)
            if self._deadline is not None:
                self._tasks.start_soon(self._deadline.follow, self._signal)
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
            {**config.summary(), **self._routes(), **self._dtypes()},
        )
        for name, text in config.transcripts:
            self._recorder.add(SpeechTranscribed, name, text)
        for note in (*config.notes, *rounding_notes(config, self._engines)):
            self._recorder.decide(Warn(note))

    def _routes(self) -> dict[str, str]:
        """Return how servers continue the texts of this conversation, by role, for the trace."""
        return {
            f"{role}_route": engine.route_name(self._conversations[role])
            for role, engine in self._engines.items()
            if isinstance(engine, Routed)
        }

    def _dtypes(self) -> dict[str, str]:
        return {f"{role}_dtype": dtype for role, dtype in dtypes_of(self._engines).items()}

    # Commands

    def write_answer(self, command: WriteAnswer) -> None:
        """Start the task of the lane that writes the answer in its form."""
        lane = Lane(command.lane, "target", command.position, 1)
        self._lanes[lane.number] = lane
        self._recorder.add(LaneOpened, lane.number, lane.role, lane.position, 0)
        self._tasks.start_soon(self._write, lane, lambda: self._answer(lane, command))

    def open_lane(self, command: OpenLane) -> None:
        """Start the task of a lane."""
        position = len(command.prefix)
        lane = Lane(command.lane, command.role, position, command.credit, command.resample)
        self._lanes[lane.number] = lane
        self._recorder.add(LaneOpened, lane.number, lane.role, position, lane.resample)
        self._tasks.start_soon(self._write, lane, lambda: self._stream(lane, command))

    def grant(self, lane: int, steps: int) -> None:
        """Grant a lane credit for more steps."""
        if found := self._lanes.get(lane):
            found.grant(steps)

    def close_lane(self, lane: int) -> None:
        """Cancel a lane."""
        if found := self._lanes.get(lane):
            found.scope.cancel()

    def judge(self, command: Judge) -> None:
        """Start the task of a judge call."""
        config = self._config
        in_thought = config.step_format.ends_inside("".join(command.prefix))
        unasked = "" if in_thought else config.unasked  # in a thought, the marker means nothing
        window = config.options.judge_batch == "window"
        query = replace(
            config.gate.query,
            others=command.others,
            unasked=unasked,
            window=window,
            measured=not (config.options.deterministic or config.calibrated),
        )
        if command.resamples:  # the stricter gate needs the question for every resampled step
            query = replace(query, target_confidence=None)
        call = JudgeCall(command.call, command.prefix, command.candidates, query, command.resamples)
        self._calls[call.number] = call
        self._recorder.add(JudgeStarted, call.number, call.positions())
        self._tasks.start_soon(self._judge, call)
        usual, options = config.usual_judge_seconds, config.options
        if usual is not None and options.independent and options.fallback == "auto":
            self._tasks.start_soon(self._notice_late, call, _LATE * usual)

    def extend_judge(self, call: int, candidates: tuple[Step, ...]) -> None:
        """Append candidates to a judge call, unless its engine has already begun."""
        if found := self._calls.get(call):
            found.extend(candidates)

    def cancel_judge(self, call: int) -> None:
        """Cancel a judge call."""
        if found := self._calls.get(call):
            found.scope.cancel()

    def decide(self, decision: Decision) -> None:
        """Record a decision of the schedule."""
        self._recorder.decide(decision)

    def finish(self, finished: Finished) -> None:
        """End the run."""
        self._finished = finished if self._deadline is None else self._deadline.ended(finished)

    # Lanes

    async def _write(self, lane: Lane, work: Callable[[], Awaitable[Finish]]) -> None:
        """Run one lane to its end, and report a failure as a signal."""
        reason = "canceled"
        try:
            with lane.scope:
                reason = await work()
            if lane.stalled:
                self._engines[lane.role].note_stall(self._config.stall_seconds)
                raise TimeoutError
        except Exception as error:  # a bug in one engine must not end the run of the other
            reason = "failed"
            message, lost = self._describe(lane.role, error)
            full = isinstance(error, ContextTooLong)
            self._signal(LaneFailed(lane.number, message, lost, full))
        finally:
            began = None if lane.began is None else self._recorder.at(lane.began)
            self._recorder.add(LaneClosed, lane.number, reason, lane.tokens, began)
            del self._lanes[lane.number]

    async def _answer(self, lane: Lane, command: WriteAnswer) -> Finish:
        """Let the target write the answer in its form."""
        engine, config = self._engines["target"], self._config
        assert isinstance(engine, AnswersInForm)  # checked before the run
        prefix = config.lead_of("target") + command.prefix
        context = Context(self._conversations["target"], prefix)
        sampling = replace(config.sampling, max_tokens=command.max_tokens)
        answer = AnswerLane(
            engine, config.answer_form, config.step_format.answer_marker, lane,
            self._recorder, self._signal, config.stop,
        )  # fmt: skip
        return await answer.run(context, sampling)

    async def _stream(self, lane: Lane, command: OpenLane) -> Finish:
        engine, config = self._engines[lane.role], self._config
        self._check_conversation(lane.role)

        def on_step(step: Step | None, finish: Finish | None) -> None:
            if finish == "length" and lane.role == "target":
                self._note_full(engine, lane, step, sampling.max_tokens)
            stopped = finish is not None and search is not None and search.found
            if step is not None:
                self._recorder.add(StepReady, lane.number, lane.role, lane.position, step)
                predicted = command.begun and lane.position == len(command.prefix)
                judged = lane.role == "draft" and not predicted
                verdict = self._decide_without_target(lane, step, history) if judged else None
                history.add(step.text)
                self._signal(StepDone(lane.number, step, finish, verdict, stopped))
                lane.position += 1
            elif finish is not None:
                self._signal(LaneEnded(lane.number, finish, stopped))

        def on_pause(paused: bool) -> None:
            self._recorder.add(LanePaused if paused else LaneResumed, lane.number)

        begun = (command.begun,) if command.begun else ()
        given = config.lead_of(lane.role) + command.prefix + begun
        context = Context(self._conversations[lane.role], given)
        # Some gates decide by what the draft reports alone.
        drafts, able = lane.role == "draft", engine.capabilities
        history = StepHistory(command.prefix)
        sampling = config.draws(
            command,
            logprobs=drafts and able.logprobs,
            entropy=drafts and able.entropy and "the draft's entropy" in config.gate.needs,
        )
        prefix = "".join(command.prefix)
        stream = StepStream(lane, config.step_format, on_step, on_pause, command.begun, prefix)
        opened, chunks = config.step_format.opens_thought, engine.stream(context, sampling)
        search = StopSearch(config.stop, "".join(given), opened=opened) if config.stop else None
        if search is None:
            return await stream.run(chunks)
        finish = await stream.run(until_stop(chunks, search))
        if lane.role == "target" or "target" not in self._engines:
            self._recorder.note_overlap(prefix, search.overlap)
        return finish

    def _note_full(self, engine: Engine, lane: Lane, step: Step | None, most: int) -> None:
        """Note that the target's context is full: it ended before its limit of tokens.

        Only for engines that know their context: others may not count tokens exactly.
        """
        context, cap = engine.capabilities.context, self._config.step_format.max_tokens
        capped = step is not None and step.tokens >= cap
        if context is not None and lane.tokens < most and not capped:
            self._recorder.decide(Warn(f"{CONTEXT_FULL} ({context} tokens)"))

    def _decide_without_target(
        self, lane: Lane, step: Step, history: StepHistory
    ) -> Verdict | None:
        """Return the verdict on a drafted step if the target need not judge it.

        Args:
            lane: Lane that wrote the step.
            step: The step.
            history: The steps before it.
        """
        if (repeated := history.repeated(step.text)) is not None:
            return Verdict(False, 0.0, 1.0, f"repeats step {repeated}", kind="none")
        context = StepContext(step, lane.position, lane.resample)
        verdict = self._config.gate.decide_without_target(context)
        if verdict is None and self._deadline is not None:
            return self._deadline.verdict(context)
        return verdict

    async def _watch(self) -> None:
        """Check all open work for stalls, with one timer: a timer per token would cost too much."""
        seconds = self._config.stall_seconds
        with self._watching:
            while True:
                await anyio.sleep(seconds / 4)
                for work in (*self._lanes.values(), *self._calls.values()):
                    work.check(seconds)

    def _emit_seen(self, event: Event) -> None:
        if self._deadline is not None:
            self._deadline.see(event)
        self._emit(event)

    # Judge calls

    async def _judge(self, call: JudgeCall) -> None:
        """Run one judge call to its end, and report a failure as a signal."""
        verdicts: tuple[Verdict, ...] = ()
        message = None
        try:
            with call.scope:
                verdicts = await self._step_judge.verdicts(call)
                self._warn_unanswered(call, verdicts)
                self._signal(Judged(call.number, verdicts))
            if call.stalled and not verdicts:
                self._engines["target"].note_stall(self._config.stall_seconds)
                raise TimeoutError
        except Exception as error:  # the schedule treats a failed call as a rejection
            message, lost = self._describe("target", error)
            self._signal(JudgeFailed(call.number, message, lost))
        finally:
            positions = call.positions(len(verdicts))
            self._recorder.add(JudgeEnded, call.number, positions, verdicts, message)
            del self._calls[call.number]
            call.ended.set()

    async def _notice_late(self, call: JudgeCall, seconds: float) -> None:
        """Tell the schedule if a judge call takes longer than this."""
        with anyio.move_on_after(seconds):
            await call.ended.wait()
            return
        self._signal(JudgeLate(call.number))

    def _on_draft_failure(self, error: Exception) -> None:
        """Warn that the draft did not judge its own steps."""
        if isinstance(error, TimeoutError):
            self._engines["draft"].note_stall(self._config.stall_seconds)
        message, _ = self._describe("draft", error)
        self._recorder.decide(Warn(f"the target judges the steps of the draft alone: {message}"))

    def _warn_unanswered(self, call: JudgeCall, verdicts: tuple[Verdict, ...]) -> None:
        """Warn once in a run if the target does not answer the judge prompt.

        Nothing is asked about the draft's end.
        """
        judged = zip(call.steps, verdicts, strict=False)
        asked = (verdict for step, verdict in judged if call.query.concerns(step.text))
        missing = next((verdict for verdict in asked if verdict.unanswered), None)
        if missing is None or self._warned:
            return
        self._warned = True
        self._recorder.decide(
            Warn(
                f"the target did not answer the judge prompt ({missing.reason}), so steps are "
                "rejected: try another --judge-prompt, or run dreamr doctor"
            )
        )

    def _check_conversation(self, role: Role) -> None:
        found = unreadable(self._conversations[role], self._engines[role].capabilities)
        if found:
            raise EngineLost(found)

    def _describe(self, role: Role, error: Exception) -> tuple[str, bool]:
        """Describe a failure in one line, and tell whether the engine is lost."""
        name = self._engines[role].name
        if isinstance(error, TimeoutError):
            return f"{role} {name}: no output for {self._config.stall_seconds:g} s", True
        what = str(error) if isinstance(error, DreamrError) else describe(error)
        return f"{role} {name}: {what}", isinstance(error, EngineLost)
