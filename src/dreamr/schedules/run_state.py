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
    does not know. Whatever is asked of it becomes a command, in order; `take` hands them out.
    """

    def __init__(self, options: ScheduleConfig) -> None:
        self.options = options
        self.prefix: list[str] = []
        self.finished = False
        self.draft_lost = False
        self._tokens = 0
        self._lanes: set[int] = set()
        self._call: int | None = None
        self._asked = 0  # candidates of that call
        self._next_lane = 0
        self._next_call = 0
        self._failures = 0
        self._commands: list[Command] = []

    @property
    def position(self) -> int:
        """The frontier: how many steps are committed."""
        return len(self.prefix)

    def take(self) -> list[Command]:
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
        return self.options.max_tokens - self._tokens

    @property
    def judging(self) -> bool:
        """Whether a judge call is under way."""
        return self._call is not None

    def open(
        self,
        role: Role,
        credit: int,
        drafted: Sequence[Step] = (),
        most: int | None = None,
        guess: str = "",
        begun: str = "",
        resample: int = 0,
    ) -> int:
        """Open a lane at the frontier, or behind drafted steps; `most` tokens, if there is room."""
        lane, self._next_lane = self._next_lane, self._next_lane + 1
        self._lanes.add(lane)
        prefix = (*self.prefix, *(step.text for step in drafted))
        room = self.room - sum(step.tokens for step in drafted)
        room = room if most is None else min(room, most)
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
        """Ask about candidates at the frontier; a call that is under way gets those it lacks.

        others: the target's own steps to compare with; such a call cannot grow. retries: which try
        the candidate is after a rejected one.
        """
        steps = tuple(candidates)
        if self._call is None:
            self._call, self._next_call = self._next_call, self._next_call + 1
            own = tuple(step.text for step in others)
            self._commands.append(Judge(self._call, tuple(self.prefix), steps, own, resamples))
        elif len(steps) > self._asked:
            self._commands.append(ExtendJudge(self._call, steps[self._asked :]))
        self._asked = len(steps)

    def commit_drafted(self, step: Step, verdict: Verdict) -> RunEnd | None:
        """Commit an accepted step; how the run ends with it, if it does."""
        last = ends_reasoning(step)
        self._commit(step, "draft", verdict, last=last)
        if last:
            return "answer" if step.is_answer else "stop"
        return self._limit()

    def commit_own(
        self, step: Step | None, finish: Finish | None, role: Role = "target"
    ) -> RunEnd | None:
        """Commit what nobody judges at the frontier; how the run ends with it, if it does.

        step: None where the stream ended before a step was complete. role: who wrote it.
        """
        if step is not None:
            self._commit(step, role, None, last=step.is_answer or finish == "stop")
            if step.is_answer:
                return "answer"
        if finish == "length":
            self.report(f"the {role} was cut by the limit on tokens")
        elif step is not None and step.ending is Ending.CAP:
            self.report(f"the {role}'s step {self.position - 1} was cut by the length cap")
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
        options = self.options
        if self.position < options.max_steps and self._tokens < options.max_tokens:
            return None
        self.report(f"a limit was reached: {self.position} steps, {self._tokens} tokens")
        return "length"

    def reject(self, step: Step, verdict: Verdict) -> None:
        """Say that the gate refused the step at the frontier."""
        self._commands.append(Reject(self.position, step, verdict))

    def discard(self, position: int, step: Step, source: Role, why: str) -> None:
        """Say that a complete step is thrown away."""
        self._commands.append(Discard(position, step, source, why))

    def discard_all(self, position: int, steps: Iterable[Step], why: str) -> None:
        """Say that these drafted steps, all for the same position, are thrown away."""
        for step in steps:
            self.discard(position, step, "draft", why)

    def drop(self, first: int, steps: Iterable[Step], why: str) -> None:
        """Say that complete drafted steps, from position `first` on, are thrown away."""
        for position, step in enumerate(steps, first):
            self.discard(position, step, "draft", why)

    def report(self, message: str) -> None:
        """Tell people."""
        self._commands.append(Warn(message))

    def draft_failed(self, failure: LaneFailed) -> None:
        """Count a failed draft; after the last one the draft is lost."""
        self._failures += 1
        if failure.lost or self._failures >= _DRAFT_FAILURES:
            self.draft_lost = True
            self.report(f"the draft is lost, the target goes on alone: {failure.message}")
        else:
            self.report(f"the draft failed, the target writes this step: {failure.message}")

    def cancel_judging(self) -> None:
        """Nobody waits for the call under way any more, if there is one."""
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
