"""Deadlines: a schedule that trades verification for time as its deadline comes near."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dreamr.schedules.answer_race import AnswerRace
from dreamr.schedules.draft_end import DRAFT_END, RUN_ENDED
from dreamr.schedules.protocol import (
    CloseLane,
    Command,
    Commit,
    Discard,
    Finished,
    LaneEnded,
    LaneFailed,
    OpenLane,
    Reject,
    Schedule,
    ScheduleConfig,
    Signal,
    StepDone,
    Warn,
)
from dreamr.schedules.stages import NOTHING_WRITTEN, DeadlineStage, Stop, TimeShort
from dreamr.schedules.text_watch import TextLimits
from dreamr.schedules.thought_closer import closing_step
from dreamr.steps import Ending, Finish, Role, Step, Thoughts, conclusion, ends_inside, without_tags

_WHY = "the deadline is near"
_NOTES: Mapping[DeadlineStage, str] = {
    "window": f"{_WHY}: the draft writes fewer steps ahead",
    "confidence": f"{_WHY}: steps that the draft is confident of are accepted without the target",
}


@dataclass(slots=True)
class _Written:
    """What a lane has written: it continues `before` with `steps`."""

    role: Role
    before: str
    steps: list[Step]
    finish: Finish | None = None


class DeadlineKeeper:
    """Runs a schedule; as the deadline comes near, ends it in stages.

    The stages 'window' and 'confidence' are the schedule's. At 'answer', an open thought is closed
    and the leading model answers; reasoning without thoughts is ended by the answer marker. The
    draft writes an answer too, as a reserve. At 'best' the run ends with the best answer so far: a
    complete one rather than a part, the target's rather than the draft's, and the last step of the
    thought if there is no other.
    """

    def __init__(self, schedule: Schedule, config: ScheduleConfig, roles: Sequence[Role]) -> None:
        """Wrap a schedule.

        Args:
            schedule: A fresh schedule.
            config: Its options.
            roles: The leading model, and the draft if the method uses both.
        """
        self._schedule = schedule
        self._config = config
        self._roles = roles
        self._limits = config.text or TextLimits()
        self._steps: list[Step] = []
        self._lanes: dict[int, _Written] = {}
        self._next_lane = 0
        self._racing = False
        self._dropped = ""  # text that was not committed when the answer began

    def start(self) -> Sequence[Command]:
        """Start the schedule."""
        return self._follow(self._schedule.start())

    def handle(self, signal: Signal) -> Sequence[Command]:
        """Pass a signal to the schedule, or enter a stage."""
        match signal:
            case TimeShort("answer"):
                return self._answer(signal)
            case TimeShort("best"):
                return self._end(signal)
            case TimeShort(stage):
                note = [Warn(_NOTES[stage])] if len(self._roles) > 1 else []
                return [*note, *self._follow(self._schedule.handle(signal))]
            case StepDone(lane, step, finish) if lane in self._lanes:
                self._lanes[lane].steps.append(step)
                self._lanes[lane].finish = finish
            case LaneEnded(lane, finish) if lane in self._lanes:
                self._lanes[lane].finish = finish
            case LaneFailed(lane):
                self._lanes.pop(lane, None)
        return self._follow(self._schedule.handle(signal))

    def _follow(self, commands: Sequence[Command]) -> Sequence[Command]:
        """Note the commands of the schedule."""
        for command in commands:
            match command:
                case Commit(_, step):
                    self._steps.append(step)
                case OpenLane(lane, role, prefix):
                    self._next_lane = lane + 1
                    self._lanes[lane] = _Written(role, "".join(prefix), [])
                case CloseLane(lane):
                    self._lanes.pop(lane, None)
                case Reject():
                    self._forget_drafts()
                case Discard(source="draft", why=why) if why != DRAFT_END:
                    self._forget_drafts()
        return commands

    def _forget_drafts(self) -> None:
        """Forget what the draft's lanes that have ended wrote: it was rejected."""
        for lane, written in list(self._lanes.items()):
            if written.role == "draft" and written.finish is not None:
                del self._lanes[lane]

    @property
    def _text(self) -> str:
        return "".join(step.text for step in self._steps)

    # Stage 'answer'

    def _answer(self, signal: TimeShort) -> Sequence[Command]:
        """Close the thought, or begin the answer with its marker, unless it is being written."""
        limits = self._limits
        thoughts = Thoughts(opened=limits.opens_thought)
        tags = thoughts.push(self._text)
        self._dropped = next((text for text, _ in self._ahead(signal)), "")
        if self._racing or len(self._steps) + 2 > self._config.max_steps:
            return []
        ahead = [text for text, written in self._ahead(signal) if written.role == self._roles[0]]
        if thoughts.inside:
            if not all(ends_inside(text, opened=limits.opens_thought) for text in ahead):
                return []  # it has closed the thought itself
            return list(self._race("the thought is closed, and", closing_step(self._text, limits)))
        opening = "" if tags else self._opening(signal)
        if opening:  # no step of the thought is committed yet
            closed = closing_step(self._text + opening, limits)
            step = replace(closed, text=opening + closed.text)
            return list(self._race("the thought is closed, and", step))
        marker = limits.answer_marker
        begun = any(text[len(self._text) :].lstrip().startswith(marker or "") for text in ahead)
        if marker is None or tags or limits.opens_thought or begun:
            return []
        return list(self._race("", marker=marker))

    def _opening(self, signal: TimeShort) -> str:
        """Return how a lane opens a thought after the committed text; empty if none does."""
        for text, _ in self._ahead(signal):
            tags = Thoughts(opened=self._limits.opens_thought).push(text)
            if tags and tags[0][1]:
                return text[len(self._text) : tags[0][0]]
        return ""

    def _race(
        self, why: str, closing: Step | None = None, *, marker: str = ""
    ) -> Iterator[Command]:
        """End the schedule, and let the models answer.

        Args:
            why: First words of the note.
            closing: Step that closes the thought, if one is open.
            marker: Beginning of the answer.
        """
        yield from self._stop()
        yield Warn(f"{_WHY}: {why} the {self._roles[0]} answers".replace("  ", " "))
        if closing is not None:
            yield Commit(len(self._steps), closing, self._roles[0])
            self._steps.append(closing)
        gap = "" if not marker or not self._text or self._text.endswith("\n") else "\n\n"
        text = replace(self._limits, thinking_budget=None)
        config = replace(self._config, text=text, committed=())
        race = AnswerRace(config, self._roles, gap + marker)
        race.resume(self._steps, self._next_lane)
        self._racing, self._schedule, self._lanes = True, race, {}
        yield from self._follow(race.start())

    def _stop(self) -> Iterator[Command]:
        """Yield the commands that end the schedule, without its last one."""
        for command in self._follow(self._schedule.handle(Stop())):
            match command:
                case Finished():
                    return
                case Discard(why=why) if why == RUN_ENDED:
                    yield replace(command, why=_WHY)
                case _:
                    yield command

    # Stage 'best'

    def _end(self, signal: TimeShort) -> Sequence[Command]:
        """End the run with the best answer so far."""
        best = self._best(signal)
        commands = [*self._stop(), Warn("the deadline is reached: the run ends")]
        if best is not None:
            step, role = best
            commands.append(Commit(len(self._steps), step, role, last=True))
        empty = best is None and not self._text.strip()
        return [*commands, Finished("deadline", NOTHING_WRITTEN if empty else None)]

    def _best(self, signal: TimeShort) -> tuple[Step, Role] | None:
        """Return a step to end the text with, and its writer; None if the text has the answer."""
        opened, text = self._limits.opens_thought, self._text
        ahead = [
            (written.finish != "stop", written.role != self._roles[0], found, written)
            for found, written in self._ahead(signal)
            if self._answers(found)
        ]
        if ahead:
            _, _, found, written = min(ahead, key=lambda one: one[:2])
            tokens = sum(step.tokens for step in self._beyond(written))
            unfinished = [s for n, s in signal.unfinished.items() if self._lanes.get(n) is written]
            tokens += sum(step.tokens for step in unfinished)
            ending = Ending.CAP if written.finish != "stop" else written.steps[-1].ending
            return Step(found[len(text) :], tokens, ending), written.role
        if conclusion(text, opened=opened).strip():
            return None
        thoughts = *(found for found, _ in self._ahead(signal)), self._dropped, text
        said = next(filter(None, map(self._last_words, thoughts)), "")
        closing = closing_step(text, self._limits).text if ends_inside(text, opened=opened) else ""
        return (Step(f"{closing}{said}", 0, Ending.CAP), self._roles[0]) if said else None

    def _last_words(self, text: str) -> str:
        """Return the last step of a text, without an answer marker."""
        last = without_tags(text).rstrip().rpartition("\n\n")[2].strip()
        return last.removeprefix(self._limits.answer_marker or "").strip()

    def _answers(self, text: str) -> bool:
        """Return whether a text says something outside its thoughts, after any answer marker."""
        said = conclusion(text, opened=self._limits.opens_thought)
        return bool(said.strip() and self._last_words(said))

    def _ahead(self, signal: TimeShort) -> Iterator[tuple[str, _Written]]:
        """Yield what lanes have written beyond the committed text, with all text before it.

        A lane that ended without a step has written nothing, whatever is drafted before it.
        """
        text = self._text
        for number, written in self._lanes.items():
            tail = signal.unfinished.get(number)
            if not written.steps and (tail is None or written.finish is not None):
                continue
            whole = written.before + "".join(step.text for step in written.steps)
            whole += "" if tail is None else tail.text
            if whole.startswith(text) and whole[len(text) :].strip():
                yield whole, written

    def _beyond(self, written: _Written) -> Iterable[Step]:
        """Return the steps of a lane that are not committed."""
        left = len(self._text) - len(written.before)
        for step in written.steps:
            if left <= 0:
                yield step
            left -= len(step.text)
