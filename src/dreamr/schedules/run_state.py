"""What every schedule keeps: committed text, open lanes, limits, the commands to give."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dreamr.gate import Verdict
from dreamr.schedules.draft_end import ends_reasoning
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
from dreamr.steps import Ending, Finish, Role, Step

_DRAFT_FAILURES = 3  # so many failed drafts in one run, and the target goes on alone


class RunState:
    """Bookkeeping without decisions.

    It numbers lanes and calls, forgets those that end, and turns away signals of those that it
    does not know. Its methods become commands, in order; `take_commands` hands them out.
    """

    def __init__(self, config: ScheduleConfig) -> None:
        self.config = config
        self.prefix: list[str] = []
        self.finished = False
        self.draft_lost = False
        self._tokens = 0
        self._lanes: set[int] = set()
        self._call: int | None = None
        self._judged = 0  # candidates of that call
        self._next_lane = 0
        self._next_call = 0
        self._failures = 0
        self._commands: list[Command] = []

    @property
    def position(self) -> int:
        """The frontier: how many steps are committed."""
        return len(self.prefix)

    def take_commands(self) -> list[Command]:
        """The commands since the last time."""
        commands, self._commands = self._commands, []
        return commands

    def admit(self, signal: Signal) -> bool:
        """Whether the signal concerns an open lane or call; what it ends is forgotten."""
        match signal:
            case StepDone(lane, _, finish):
                known = lane in self._lanes
                if finish is not None:
                    self._lanes.discard(lane)
            case LaneEnded(lane) | LaneFailed(lane):
                known = lane in self._lanes
                self._lanes.discard(lane)
            case Judged(call) | JudgeFailed(call):
                known = call == self._call
                self._call = None if known else self._call
        return known

    @property
    def room(self) -> int:
        """How many tokens more may be committed."""
        return self.config.max_tokens - self._tokens

    @property
    def judging(self) -> bool:
        """Whether a judge call is open."""
        return self._call is not None

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

        max_tokens: of the lane, where that is below the room that is left.
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
        """One more step for the lane, if it is still open."""
        if lane is not None:
            self._commands.append(GrantSteps(lane, 1))

    def close(self, lane: int | None) -> None:
        """Close the lane, if it is still open."""
        if lane in self._lanes:
            self._lanes.discard(lane)
            self._commands.append(CloseLane(lane))

    def judge(
        self, candidates: Iterable[Step], others: Iterable[Step] = (), resamples: int = 0
    ) -> None:
        """Judge candidates at the frontier; an open call gets those that it lacks.

        others: the target's own steps to compare with; such a call cannot grow. resamples: the
        number of the candidate after a rejected step.
        """
        steps = tuple(candidates)
        if self._call is None:
            self._call, self._next_call = self._next_call, self._next_call + 1
            texts = tuple(step.text for step in others)
            self._commands.append(Judge(self._call, tuple(self.prefix), steps, texts, resamples))
        elif len(steps) > self._judged:
            self._commands.append(ExtendJudge(self._call, steps[self._judged :]))
        self._judged = len(steps)

    def commit_drafted(self, step: Step, verdict: Verdict) -> RunEnd | None:
        """Commit an accepted step; how the run ends with it, if it does."""
        last = ends_reasoning(step)
        self._commit(step, "draft", verdict, last=last)
        if last:
            return "answer" if step.is_answer else "stop"
        return self._limit()

    def commit_unjudged(
        self, step: Step | None, finish: Finish | None, role: Role = "target"
    ) -> RunEnd | None:
        """Commit a step without a verdict at the frontier; how the run ends with it, if it does.

        step: None where the stream ended before a step was complete. role: who wrote it.
        """
        if step is not None:
            self._commit(step, role, None, last=step.is_answer or finish == "stop")
            if step.is_answer:
                return "answer"
        if finish == "length":
            self.warn(f"the {role} was cut by the limit on tokens")
        elif step is not None and step.ending is Ending.CAP:
            self.warn(f"the {role}'s step {self.position - 1} was cut by the length cap")
        return finish or self._limit()

    def commit_piece(self, step: Step) -> RunEnd | None:
        """Commit what the target wrote at the frontier, a part of a step or a whole one."""
        self._commit(step, "target", None, last=False)
        return self._limit()

    def _commit(self, step: Step, source: Role, verdict: Verdict | None, *, last: bool) -> None:
        self._commands.append(Commit(self.position, step, source, verdict, last))
        self.prefix.append(step.text)
        self._tokens += step.tokens

    def _limit(self) -> RunEnd | None:
        config = self.config
        if self.position < config.max_steps and self._tokens < config.max_tokens:
            return None
        self.warn(f"a limit was reached: {self.position} steps, {self._tokens} tokens")
        return "length"

    def reject(self, step: Step, verdict: Verdict) -> None:
        """Say that the gate rejected the step at the frontier."""
        self._commands.append(Reject(self.position, step, verdict))

    def discard(self, position: int, step: Step, source: Role, why: str) -> None:
        """Say that a complete step is discarded."""
        self._commands.append(Discard(position, step, source, why))

    def discard_drafted(self, first: int, steps: Iterable[Step], why: str) -> None:
        """Say that complete drafted steps, from position `first` on, are discarded."""
        for position, step in enumerate(steps, first):
            self.discard(position, step, "draft", why)

    def warn(self, message: str) -> None:
        """Tell people of a degradation."""
        self._commands.append(Warn(message))

    def draft_failed(self, failure: LaneFailed) -> None:
        """Count a failed draft; after the last one the draft is lost."""
        self._failures += 1
        if failure.lost or self._failures >= _DRAFT_FAILURES:
            self.draft_lost = True
            self.warn(f"the draft is lost, the target goes on alone: {failure.message}")
        else:
            self.warn(f"the draft failed, the target writes this step: {failure.message}")

    def cancel_judging(self) -> None:
        """Cancel the open judge call, if there is one."""
        if self._call is not None:
            self._commands.append(CancelJudge(self._call))
            self._call = None

    def finish(self, finish: RunEnd, error: str | None = None) -> None:
        """Close everything and end the run."""
        for lane in sorted(self._lanes):
            self.close(lane)
        self.cancel_judging()
        self.finished = True
        self._commands.append(Finished(finish, error))
