"""Answers in a form: a schedule reasons until the answer is due, and the target writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from dreamr.schedules.draft_end import DRAFT_END, ends_in_thought, ends_reasoning
from dreamr.schedules.protocol import (
    CancelJudge,
    CloseLane,
    Command,
    Commit,
    Discard,
    Finished,
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
    WriteAnswer,
)
from dreamr.schedules.stages import NOTHING_WRITTEN, Stop, TimeShort
from dreamr.schedules.text_watch import TextLimits
from dreamr.schedules.thought_closer import closing_step
from dreamr.steps import Role, Step, conclusion, ends_inside

_DUE = "the target writes the answer in its form"
_GAP = "\n\n"  # between a thought and its answer


class AnswerWriter:
    """Runs a schedule until the answer is due, then has the target write the answer in its form.

    The answer is due once a thought is closed. A model without thoughts reasons in plain steps; its
    answer is due where the draft's reasoning ends, or where a step would be the answer or a call.
    That step is not committed: the target writes the answer at its place, in one request. Where a
    stop text ended a step of the reasoning, the run ends without an answer.
    """

    def __init__(
        self,
        schedule: Schedule,
        config: ScheduleConfig,
        *,
        calls: Callable[[str], bool] = lambda text: False,
        whole: str = "",
    ) -> None:
        """Wrap a schedule.

        Args:
            schedule: A fresh schedule.
            config: Its options.
            calls: Tells whether the text of a step calls a tool.
            whole: Why the target must write reasoning and answer by itself, without the schedule;
                empty if it need not.
        """
        self._schedule, self._config = schedule, config
        self._limits = config.text or TextLimits()
        self._calls, self._whole = calls, whole
        self._steps: list[Step] = []
        self._work = _Work()
        self._stopped = False  # whether the last step was ended by a stop text
        self._lane: int | None = None  # that of the answer

    def start(self) -> Sequence[Command]:
        """Start the schedule, or the answer if the target writes all of it."""
        if self._whole:
            why = f"the target answers alone, without speculation: {self._whole}"
            return [Warn(why), *self._open()]
        return self._follow(self._schedule.start())

    def handle(self, signal: Signal) -> Sequence[Command]:
        """Pass a signal to the schedule, or end the run with the answer."""
        if isinstance(signal, TimeShort) and signal.stage == "best" and self._lane is None:
            return self._schedule.handle(signal)  # there is no time for an answer in its form
        if self._lane is not None:
            return list(self._on_answer(signal))
        self._work.note_signal(signal)
        commands = self._schedule.handle(signal)
        if isinstance(signal, TimeShort) and signal.stage == "answer":
            return self._hurry(commands)
        return self._follow(commands)

    def _hurry(self, commands: Sequence[Command]) -> Sequence[Command]:
        """Return the commands that begin the answer near a deadline.

        Args:
            commands: What the schedule does to answer in time.
        """
        if any(isinstance(command, Commit) for command in commands):  # it closes the thought
            return self._follow(commands)
        # An answer in free text would be written in vain, and there is no time for both.
        return [Warn(f"the deadline is near: {_DUE}"), *self._write()]

    def _follow(self, commands: Sequence[Command]) -> Sequence[Command]:
        """Return the commands, up to the one at which the answer is due."""
        followed: list[Command] = []
        for command in commands:
            if self._is_due(command):
                return [*followed, *self._write()]
            followed.append(command)
            self._work.note(command)
            if isinstance(command, Commit):
                inside, stopped = self._inside, self._is_stopped(command)
                self._steps.append(command.step)
                if stopped:
                    self._stopped = True
                elif ends_in_thought(command.step) or self._closed(inside):
                    return [*followed, *self._write()]
        return followed

    def _is_due(self, command: Command) -> bool:
        """Return whether the answer takes the place of what a command says."""
        match command:
            case Commit(step=step, last=last):
                ends = (last or ends_reasoning(step)) and not ends_in_thought(step)
                ends = ends and not self._is_stopped(command)
                return ends or (not self._inside and self._calls(step.text))
            case Discard(position, step, "draft", why):
                here = position == len(self._steps) and not self._inside
                ends = here and not ends_in_thought(step) and not self._is_stopped(command)
                return why == DRAFT_END and ends
            case Finished(finish=finish):
                nothing = (len(self._steps), "target", None) in self._work.stopped
                return finish in ("answer", "stop") and not (self._stopped or nothing)
        return False

    def _is_stopped(self, command: Commit | Discard) -> bool:
        """Return whether a stop text ended a step of the reasoning."""
        step = command.step
        if step.is_answer or ends_in_thought(step):
            return False
        return (command.position, command.source, step) in self._work.stopped

    def _closed(self, inside: bool) -> bool:
        """Return whether the last step closed the thought.

        Args:
            inside: Whether the text before it ended inside one.
        """
        if self._inside:
            return False
        # A template that is not shown may have opened the thought.
        said = conclusion(self._text, opened=self._limits.opens_thought)
        return inside or not said.strip()

    @property
    def _text(self) -> str:
        return "".join(step.text for step in self._steps)

    @property
    def _inside(self) -> bool:
        return ends_inside(self._text, opened=self._limits.opens_thought)

    def _write(self) -> Iterator[Command]:
        """Yield the commands that end the schedule and begin the answer."""
        yield from self._work.end(_DUE)
        if self._inside:
            step = closing_step(self._text, self._limits)
            yield Commit(len(self._steps), step, "target")
            self._steps.append(step)
        yield from self._open()

    def _open(self) -> Iterator[Command]:
        """Yield the command that begins the answer, or the end if no tokens are left."""
        room = self._config.max_tokens - sum(step.tokens for step in self._steps)
        if room < 1:
            yield Warn(f"limit reached after {len(self._steps)} steps, before the answer")
            yield Finished("length")
            return
        self._lane = self._work.next_lane
        prefix = [step.text for step in self._steps]
        if prefix and not prefix[-1].endswith("\n"):
            prefix.append(_GAP)
        yield WriteAnswer(self._lane, tuple(prefix), len(self._steps), room)

    def _on_answer(self, signal: Signal) -> Iterator[Command]:
        match signal:
            case StepDone(lane, step, finish) if lane == self._lane:
                last = finish is not None
                yield Commit(len(self._steps), step, "target", last=last)
                self._steps.append(step)
                if finish == "length":
                    yield Warn("the target reached a limit of tokens")
                if last:
                    yield Finished("length" if finish == "length" else "answer")
            case LaneEnded(lane, finish) if lane == self._lane:
                yield Finished("length" if finish == "length" else "stop")
            case LaneFailed(lane, message) if lane == self._lane:
                yield Finished("failed", message)
            case TimeShort("best", unfinished):
                yield from self._cut(unfinished)
                empty = self._lane not in unfinished and not self._text.strip()
                yield Finished("deadline", NOTHING_WRITTEN if empty else None)
            case Stop():
                yield from self._cut({})
                yield Finished("length")

    def _cut(self, unfinished: Mapping[int, Step]) -> Iterator[Command]:
        """Yield the commands that close the lane of the answer, and commit what it has written."""
        assert self._lane is not None
        yield CloseLane(self._lane)
        if (step := unfinished.get(self._lane)) is not None:
            yield Commit(len(self._steps), step, "target", last=True)


class _Work:
    """Lanes, judge calls and undecided steps of a schedule, which end when the answer is due.

    Attributes:
        next_lane: Number of the next lane.
        stopped: Steps that a stop text ended, with position and writer; None for no step.
    """

    def __init__(self) -> None:
        self.next_lane = 0
        self.stopped: set[tuple[int, Role, Step | None]] = set()
        self._lanes: dict[int, tuple[Role, int]] = {}  # role, and position of the next step
        self._calls: set[int] = set()
        self._ready: list[tuple[int, Role, Step]] = []

    def note(self, command: Command) -> None:
        """Take note of a command of the schedule."""
        match command:
            case OpenLane(lane=lane, role=role, prefix=prefix):
                self._lanes[lane] = (role, len(prefix))
                self.next_lane = lane + 1
            case CloseLane(lane=lane):
                self._lanes.pop(lane, None)
            case Judge(call=call):
                self._calls.add(call)
            case CancelJudge(call=call):
                self._calls.discard(call)
            case Commit(position, step, source) | Discard(position, step, source):
                self._decided(position, source, step)
            case Reject(position, step):
                self._decided(position, "draft", step)

    def note_signal(self, signal: Signal) -> None:
        """Take note of a signal to the schedule."""
        match signal:
            case StepDone(lane, step, finish, stopped=stopped) if lane in self._lanes:
                role, position = self._lanes[lane]
                if stopped:
                    self.stopped.add((position, role, step))
                self._ready.append((position, role, step))
                self._lanes[lane] = (role, position + 1)
                if finish is not None:
                    del self._lanes[lane]
            case LaneEnded(lane=lane, stopped=True) if lane in self._lanes:
                role, position = self._lanes.pop(lane)
                self.stopped.add((position, role, None))
            case LaneEnded(lane=lane) | LaneFailed(lane=lane):
                self._lanes.pop(lane, None)
            case Judged(call=call) | JudgeFailed(call=call):
                self._calls.discard(call)

    def _decided(self, position: int, role: Role, step: Step) -> None:
        if (entry := (position, role, step)) in self._ready:
            self._ready.remove(entry)

    def end(self, why: str) -> Iterator[Command]:
        """Yield the commands that close all work and discard all steps that are not decided."""
        yield from map(CloseLane, sorted(self._lanes))
        yield from map(CancelJudge, sorted(self._calls))
        for position, role, step in self._ready:
            yield Discard(position, step, role, why)
