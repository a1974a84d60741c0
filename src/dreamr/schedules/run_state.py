"""The state of a run that all schedules share: committed text, open lanes, limits, commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dreamr.gate import Verdict
from dreamr.schedules.draft_end import ends_in_thought, ends_reasoning
from dreamr.schedules.protocol import (
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
    JudgeFailed,
    JudgeLate,
    LaneEnded,
    LaneFailed,
    OpenLane,
    Reject,
    RunEnd,
    ScheduleConfig,
    Signal,
    StepDone,
    Warn,
)
from dreamr.schedules.stages import Stop, TimeShort
from dreamr.schedules.text_watch import TextWatch
from dreamr.steps import Ending, Finish, Role, Step

# Beginnings of the notes that say so.
CONTEXT_FULL = "the context of the target is full"
DRAFT_FULL = "the context of the draft is full"
_DRAFT_FAILURES = 3  # failures of the draft in one run after which the target continues alone


class RunState:
    """Bookkeeping of a run; it makes no decisions.

    It numbers lanes and judge calls and filters out signals of closed ones. Its methods queue
    commands, which `take_commands` returns in order.

    Attributes:
        config: Options of the schedule.
        prefix: Texts of the committed steps.
        finished: Whether the run has ended.
        draft_lost: Whether the draft can no longer be used.
    """

    def __init__(self, config: ScheduleConfig) -> None:
        self.config = config
        self.prefix: list[str] = []
        self.finished = False
        self.draft_lost = False
        self._watch = None if config.text is None else TextWatch(config.text)
        self._open_thought: str | None = None  # why the run ends inside a thought
        self._tokens = 0
        self._lanes: set[int] = set()
        self._calls: set[int] = set()  # open judge calls
        self._call: int | None = None  # the one of them that grows
        self._judged = 0  # position after the last candidate in that call
        self._first_judged: dict[int, int] = {}  # position of the first candidate, by call
        self._next_lane = 0
        self._next_call = 0
        self._failures = 0
        self._commands: list[Command] = list(config.committed)
        for commit in config.committed:
            self._note(commit.step)

    def resume(self, steps: Iterable[Step], lane: int) -> None:
        """Continue a text that another schedule committed.

        Args:
            steps: The committed steps.
            lane: Number of the first new lane.
        """
        for step in steps:
            self._note(step)
        self._next_lane = lane

    @property
    def position(self) -> int:
        """Number of committed steps; the index of the step at the frontier."""
        return len(self.prefix)

    def take_commands(self) -> list[Command]:
        """Return the commands queued since the last call."""
        commands, self._commands = self._commands, []
        return commands

    def admit(self, signal: Signal) -> bool:
        """Check whether a signal is from an open lane or judge call, and note if that has ended."""
        match signal:
            case StepDone(lane, _, finish):
                known = lane in self._lanes
                if finish is not None:
                    self._lanes.discard(lane)
            case LaneEnded(lane) | LaneFailed(lane):
                known = lane in self._lanes
                self._lanes.discard(lane)
            case Judged(call) | JudgeFailed(call):
                known = call in self._calls
                self._forget_call(call)
            case JudgeLate(call):
                known = call in self._calls
            case TimeShort() | Stop():
                known = not self.finished
        return known

    @property
    def room(self) -> int:
        """Number of tokens that may still be committed."""
        return self.config.max_tokens - self._tokens

    @property
    def judging(self) -> bool:
        """Whether a judge call is open."""
        return bool(self._calls)

    def open(
        self,
        role: Role,
        credit: int,
        drafted: Sequence[Step] = (),
        max_tokens: int | None = None,
        guess: str = "",
        begun: str = "",
        resample: int = 0,
    ) -> int:
        """Open a lane at the frontier, or after drafted steps.

        Args:
            role: Model that writes.
            credit: Number of steps that the lane may write before it pauses.
            drafted: Undecided drafted steps between the frontier and the lane.
            max_tokens: Limit on the lane's tokens; None for the room that the run has left.
            guess: See `OpenLane`.
            begun: See `OpenLane`.
            resample: See `OpenLane`.

        Returns:
            The number of the lane.
        """
        lane, self._next_lane = self._next_lane, self._next_lane + 1
        self._lanes.add(lane)
        prefix = (*self.prefix, *(step.text for step in drafted))
        room = self.room - sum(step.tokens for step in drafted)
        room = room if max_tokens is None else min(room, max_tokens)
        self._commands.append(
            OpenLane(lane, role, prefix, credit, max(1, room), guess, begun, resample)
        )
        return lane

    def grant(self, lane: int | None) -> None:
        """Grant a lane one more step; no-op for None."""
        if lane is not None:
            self._commands.append(GrantSteps(lane, 1))

    def close(self, lane: int | None) -> None:
        """Close a lane; no-op for None and for a lane that has ended."""
        if lane in self._lanes:
            self._lanes.discard(lane)
            self._commands.append(CloseLane(lane))

    def judge(self, candidates: Iterable[Step], others: Iterable[Step] = ()) -> int:
        """Judge candidates at the frontier; if a call is open, extend it by the new ones.

        Args:
            candidates: Consecutive drafted steps, from the frontier on.
            others: The target's own steps to compare with; a call with `others` must not be
                extended.

        Returns:
            The number of the call.
        """
        steps = tuple(candidates)
        end = self.position + len(steps)
        if self._call is None:
            self._call = self._new_call(self.position)
            texts = tuple(step.text for step in others)
            self._commands.append(Judge(self._call, tuple(self.prefix), steps, texts))
        elif end > self._judged:
            self._commands.append(ExtendJudge(self._call, steps[self._judged - end :]))
        self._judged = end
        return self._call

    def first_judged(self, call: int) -> int:
        """Return the position of the first candidate of a judge call.

        It is before the frontier if steps of the call were committed before its verdicts came.
        """
        return self._first_judged[call]

    def judge_alone(self, step: Step, drafted: Iterable[Step], resamples: int = 0) -> int:
        """Judge one step after undecided drafted steps, in a call of its own.

        Args:
            step: The step.
            drafted: Undecided drafted steps between the frontier and the step.
            resamples: Number of the candidate for a rejected step; 0 for an ordinary call.

        Returns:
            The number of the call.
        """
        prefix = (*self.prefix, *(before.text for before in drafted))
        call = self._new_call(len(prefix))
        self._commands.append(Judge(call, prefix, (step,), resamples=resamples))
        return call

    def _new_call(self, first: int) -> int:
        call, self._next_call = self._next_call, self._next_call + 1
        self._calls.add(call)
        self._first_judged[call] = first
        return call

    def _forget_call(self, call: int) -> None:
        self._calls.discard(call)
        if call == self._call:
            self._call = None

    def commit_drafted(self, step: Step, verdict: Verdict) -> RunEnd | None:
        """Commit an accepted drafted step; return how the run ends, None if it continues."""
        last = ends_reasoning(step)
        self._commit(step, "draft", verdict, last=last)
        if last:
            return "answer" if step.is_answer else "stop"
        return self._limit()

    def commit_unjudged(
        self, step: Step | None, finish: Finish | None, role: Role = "target"
    ) -> RunEnd | None:
        """Commit a step that needs no verdict.

        Args:
            step: The step; None if the stream ended without one.
            finish: How the stream ended, None if it continues.
            role: Model that wrote the step.

        Returns:
            How the run ends with this step, None if it continues.
        """
        if step is not None:
            stops = finish == "stop" and not ends_in_thought(step)
            self._commit(step, role, None, last=step.is_answer or stops)
            if step.is_answer:
                return "answer"
            if ends_in_thought(step):
                return self._without_answer(role)
        if finish == "length":
            self.warn(f"the {role} reached a limit of tokens")
        elif step is not None and step.ending is Ending.CAP:
            self.warn(f"step {self.position}, written by the {role}, was cut by the length cap")
        return finish or self._limit()

    def commit_piece(self, step: Step) -> RunEnd | None:
        """Commit text of the target, a whole step or a part; return how the run ends, or None."""
        self._commit(step, "target", None, last=False)
        return self._without_answer("target") if ends_in_thought(step) else self._limit()

    def _without_answer(self, role: Role) -> RunEnd:
        self.warn(f"the {role} stopped after a thought, without an answer")
        return "length"

    def _commit(self, step: Step, source: Role, verdict: Verdict | None, *, last: bool) -> None:
        self._commands.append(Commit(self.position, step, source, verdict, last))
        self._note(step)

    def _note(self, step: Step) -> None:
        self.prefix.append(step.text)
        self._tokens += step.tokens
        if self._watch is not None:
            self._watch.add(step)

    def _limit(self) -> RunEnd | None:
        config = self.config
        if self.position >= config.max_steps or self._tokens >= config.max_tokens:
            self.warn(f"limit reached after {self.position} steps and {self._tokens} tokens")
            return "length"
        if self._watch is None or (problem := self._watch.problem) is None:
            return None
        # Closing the thought takes a step, and answering at least one.
        if self._watch.inside and self.position + 2 <= config.max_steps:
            self._open_thought = problem
        else:
            self.warn(f"{problem}: the run ends")
        return "length"

    def reject(self, step: Step, verdict: Verdict) -> None:
        """Record that the gate rejected the step at the frontier."""
        self._commands.append(Reject(self.position, step, verdict))

    def discard(self, position: int, step: Step, source: Role, why: str) -> None:
        """Discard a complete step; `why` is shown to users."""
        self._commands.append(Discard(position, step, source, why))

    def discard_drafted(self, first: int, steps: Iterable[Step], why: str) -> None:
        """Discard complete drafted steps, the first one at position `first`."""
        for position, step in enumerate(steps, first):
            self.discard(position, step, "draft", why)

    def warn(self, message: str) -> None:
        """Warn the user of a degradation."""
        self._commands.append(Warn(message))

    def draft_failed(self, failure: LaneFailed) -> None:
        """Count a failure of the draft; mark the draft as lost after the last allowed one."""
        self._failures += 1
        if failure.full:
            self.draft_lost = True
            self.warn(f"{DRAFT_FULL}, the target continues alone: {failure.message}")
        elif failure.lost or self._failures >= _DRAFT_FAILURES:
            self.draft_lost = True
            self.warn(f"the draft was lost, the target continues alone: {failure.message}")
        else:
            self.warn(f"the draft failed, the target writes this step: {failure.message}")

    def target_failed(self, failure: LaneFailed | JudgeFailed) -> tuple[RunEnd, str | None]:
        """Return how a failure of the target ends the run, and the error.

        A context that is full ends it like another limit, if there is any text.
        """
        if isinstance(failure, LaneFailed) and failure.full and self.prefix:
            self.warn(f"{CONTEXT_FULL}: {failure.message}")
            return "length", None
        return "failed", failure.message

    def cancel_call(self, call: int | None) -> None:
        """Cancel a judge call; no-op for None and for a call that has ended."""
        if call in self._calls:
            self._commands.append(CancelJudge(call))
            self._forget_call(call)

    def cancel_judging(self) -> None:
        """Cancel all open judge calls."""
        for call in sorted(self._calls):
            self.cancel_call(call)

    def finish(self, finish: RunEnd, error: str | None = None) -> None:
        """Close all lanes and judge calls, and end the run."""
        for lane in sorted(self._lanes):
            self.close(lane)
        self.cancel_judging()
        self.finished = True
        self._commands.append(Finished(finish, error, self._open_thought))
