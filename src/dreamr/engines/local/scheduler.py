"""Scheduling of calls in a worker: one unit of work at a time, judge calls first.

A unit is one forward pass, or the opening of a stream. A pass includes everything that waits, for
any number of conversations: judge calls, the next tokens of streams that have credit, and chunks of
prompts. It is full when it has as many rows as one prefill pass. Streams take turns if there is not
enough room for all. A stream waits while its own conversation is being judged, because the verdict
usually ends the stream. If the decoder does not pack, each pass serves one call.

Judge calls of several runs can follow each other without a gap, so streams do not wait for all of
them: a stream is opened after each pass, a full pass still takes one stream, a decoder that does
not pack alternates between judge calls and streams, and a conversation that is judged in many
passes in a row, for several runs of it, no longer holds back its streams.

Between two units, the worker reads its messages, so a canceled call costs at most one more unit.
Within a pass, it checks whether any call still waits for the result. The prefill of a long prompt
ends a layer or two after the last call of its conversation is canceled.
"""

from __future__ import annotations

import warnings
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from dreamr._messages import first_line
from dreamr.conversation import Conversation, Image
from dreamr.engines.local.forward_pass import Interrupted
from dreamr.engines.local.ipc import (
    Cancel,
    CountReply,
    CountRequest,
    ExtendJudge,
    Failed,
    Forget,
    JudgeReply,
    JudgeRequest,
    Piece,
    Remember,
    Stream,
    Taken,
)
from dreamr.engines.local.job import Job
from dreamr.engines.local.judging import Judging
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.options import LocalOptions
from dreamr.engines.local.session import Session, used_bytes
from dreamr.engines.local.stream import StreamTask
from dreamr.errors import DreamrError, Unsupported
from dreamr.gate import Evidence

_VERDICT_WAIT = 0.002  # seconds in which an engine reacts to verdicts
_MOST_JUDGED = 16  # passes with new judge calls of a conversation that its streams wait for


@dataclass(slots=True, eq=False)
class _Known:
    """A conversation and its session, which is created by the first call that needs it."""

    conversation: Conversation
    group: str = ""
    session: Session | None = None


class Scheduler:
    """Scheduler of the calls of one engine.

    Args:
        loaded: The model.
        judging: How the model judges, or why it cannot.
        options: Options of the worker.
        send: Sends a message to the engine.
        peek: Returns the messages that arrived during the current unit. They are passed to `handle`
            afterwards.
    """

    def __init__(
        self,
        loaded: Loaded,
        judging: Judging | str,
        options: LocalOptions,
        send: Callable[[Any], None],
        peek: Callable[[], Sequence[Any]] = tuple,
    ) -> None:
        self._loaded, self._judging, self._options, self._send = loaded, judging, options, send
        self._known: OrderedDict[int, _Known] = OrderedDict()
        # Each call with its conversation, which can be forgotten while the call waits.
        self._judges: deque[tuple[JudgeRequest, _Known]] = deque()
        self._begun: list[Job] = []  # judge calls that need a pass
        self._opening: deque[tuple[Stream, _Known]] = deque()
        self._streams: deque[StreamTask] = deque()
        self._judged = False  # whether the last unit sent verdicts
        self._opens = False  # whether the last unit was a pass, after which a stream is opened
        self._streams_first = False  # whether the next pass is a stream's, if none is shared
        self._in_a_row: Counter[Session] = Counter()  # latest passes with new judge calls
        self._peek = peek
        self._running: Sequence[Job] = ()  # jobs of the current pass
        self._useless = False  # whether no call waited for it at the last check
        loaded.model.watch(self._interrupted)

    @property
    def patience(self) -> float:
        """Seconds to wait for messages before the next unit.

        Verdicts that were just sent usually end the stream that would run next. Its cancellation
        arrives in less time than a token takes.
        """
        return _VERDICT_WAIT if self._judged else 0.0

    @property
    def sessions(self) -> list[Session]:
        """Sessions of all conversations, least recently used first."""
        return [known.session for known in self._known.values() if known.session is not None]

    def handle(self, message: Any) -> None:
        """Process a message. No model runs, except the vision tower to count image tokens."""
        match message:
            case Remember(key=key, group=group):
                self._known[key] = _Known(message.conversation(self._images()), group)
            case Forget(key):
                self._known.pop(key, None)
            case Stream():
                self._opening.append((message, self._touch(message.key)))
            case JudgeRequest():
                self._judges.append((message, self._touch(message.key)))
            case CountRequest(call, key):
                self._guarded(call, partial(self._count, call, self._touch(key)))
            case ExtendJudge(call, candidates):
                self._extend(call, candidates)
            case Taken(call, tokens):
                self._grant(call, tokens)
            case Cancel(call):
                self._cancel(call)

    def work(self) -> bool:
        """Run one unit. Return False if nothing can be done until a message arrives."""
        self._judged = False
        with torch.inference_mode():
            if (opening := self._next_to_open()) is not None:
                stream, known = opening
                self._guarded(stream.call, partial(self._open, stream, known))
                return True
            jobs = self._gather()
            self._run_interruptible(jobs)
            self._begun = [job for job in self._begun if job.part is not None]
        self._opens = bool(jobs)
        return bool(jobs or self._opening)

    def _next_to_open(self) -> tuple[Stream, _Known] | None:
        """Remove and return the stream to open in this unit, if any."""
        idle = not self._judges and not self._begun
        judged = [known for _, known in self._judges]
        for place, (stream, known) in enumerate(self._opening if idle or self._opens else ()):
            # Opened after the verdict, a stream takes over what the judge call has computed.
            if not self._held(known.session) and (known.session or known not in judged):
                del self._opening[place]
                return stream, known
        return None

    def _held(self, session: Session | None) -> bool:
        """Return whether the streams of a conversation wait for its judge calls."""
        judged = [job.session for job in self._begun]
        judged += [known.session for _, known in self._judges if known.session is not None]
        return session in judged and self._in_a_row[session] <= _MOST_JUDGED

    def _gather(self) -> list[Job]:
        """Return the jobs of the next pass."""
        jobs = [] if self._streams_first else self._judge_jobs()
        if not jobs or self._loaded.model.packs:
            self._add_streams(jobs)
        jobs = jobs or self._judge_jobs()
        judges = bool(jobs) and jobs[0] in self._begun
        self._streams_first = judges and not self._loaded.model.packs
        return jobs

    def _judge_jobs(self) -> list[Job]:
        """Return the judge calls that take part in the next pass."""
        fresh = len(self._begun)
        while self._judges and self._has_room(self._begun):
            self._begun += self._ask(*self._judges.popleft())
        asked = {job.session for job in self._begun[fresh:]}
        counts = {job.session: self._in_a_row[job.session] for job in self._begun}
        self._in_a_row = Counter({one: count + (one in asked) for one, count in counts.items()})
        return list(self._begun)

    def _add_streams(self, jobs: list[Job]) -> None:
        """Add streams to a pass: one even if it is full, so that judge calls cannot stop all."""
        least = len(jobs) + 1
        for task in [task for task in self._streams if not self._held(task.session)]:
            if len(jobs) >= least and not self._has_room(jobs):
                break
            jobs += self._write(task)

    def _has_room(self, jobs: Sequence[Job]) -> bool:
        """Return whether one more job, of any size, can join the pass."""
        rows = sum(job.part.rows for job in jobs if job.part is not None)
        return not jobs or (self._loaded.model.packs and rows < self._options.prefill)

    def _ask(self, judge: JudgeRequest, known: _Known) -> list[Job]:
        """Start a judge call; return its job if it needs a pass."""
        jobs: list[Job] = []
        self._guarded(judge.call, lambda: jobs.append(self._judge(judge, known)))
        return [job for job in jobs if self._started(job)]

    def _judge(self, judge: JudgeRequest, known: _Known) -> Job:
        if isinstance(self._judging, str):
            raise Unsupported(f"the model cannot judge: {self._judging}")
        session = self._session(known)
        passes = self._judging.passes(session, judge.prefix, judge.candidates, judge.query)
        done = partial(self._give_verdicts, judge.call)
        return Job(judge.call, session, passes, done, passes.close)

    def _count(self, call: int, known: _Known) -> None:
        with torch.inference_mode():
            self._send(CountReply(call, len(self._session(known).prompt)))

    def _give_verdicts(self, call: int, evidence: tuple[Evidence, ...]) -> None:
        self._send(JudgeReply(call, evidence))
        self._judged = True
        self._trim()

    def _write(self, task: StreamTask) -> list[Job]:
        """Advance a stream; return its job if it needs a pass.

        Tokens that are already computed are sent first.
        """
        while task in self._streams and task.credit > 0:
            self._streams.remove(task)
            self._streams.append(task)
            done, leave = partial(self._give_token, task), partial(self._close, task)
            job = Job(task.call, task.session, task.passes(), done, leave)
            if self._started(job):
                return [job]
        return []

    def _give_token(self, task: StreamTask, piece: Piece | None) -> None:
        if piece is None:
            return
        task.credit -= 1
        if piece.finish is not None:
            self._close(task)
        if (gathered := task.gather(piece, self._options.gather)) is not None:
            self._send(gathered)

    def _started(self, job: Job) -> bool:
        """Start a job and return whether it needs a pass."""
        self._step(job, lambda: None)
        return job.part is not None

    def _run_interruptible(self, jobs: Sequence[Job]) -> None:
        """Run one pass, and abort it if all its calls are canceled meanwhile."""
        self._running, self._useless = jobs, False
        try:
            self._run(jobs)
        except Interrupted:
            for job in jobs:
                job.part = None
                job.leave()
        finally:
            self._running = ()

    def _interrupted(self) -> bool:
        """Return whether the current pass was useless at this check and at the one before.

        Two checks, because a caller that closes a stream and opens another sends two messages.
        """
        before, self._useless = self._useless, bool(self._running) and self._is_useless()
        return before and self._useless

    def _is_useless(self) -> bool:
        """Return whether no call waits for the current pass or its conversations."""
        messages = self._peek()
        gone = {message.call for message in messages if isinstance(message, Cancel)}
        if not gone.issuperset(job.call for job in self._running):
            return False
        waiting = [known for _, known in (*self._judges, *self._opening)]
        fresh = (message for message in messages if isinstance(message, Stream | JudgeRequest))
        waiting += [self._known[message.key] for message in fresh if message.key in self._known]
        wanted = [known.session for known in waiting]
        wanted += [task.session for task in self._streams if task.call not in gone]
        return not any(job.session in wanted for job in self._running)

    def _run(self, jobs: Sequence[Job]) -> None:
        """Run one pass for all jobs; if it fails, one for each, so that only the cause fails."""
        model = self._loaded.model
        parts = [job.part for job in jobs if job.part is not None]
        found: Sequence[torch.Tensor | None] = [None] * len(parts)
        failure: Exception | None = None
        if len(parts) > 1:
            try:
                found = model.run_all(parts)
            except Exception as error:
                failure = error
        resumed = [
            self._step(job, partial(model.run, part) if rows is None else partial(_given, rows))
            for job, part, rows in zip(jobs, parts, found, strict=True)
        ]
        if failure is not None and all(resumed):
            # No single call caused it, so no caller gets an error.
            warnings.warn(
                f"a shared forward pass failed, ran its calls separately: {first_line(failure)}",
                RuntimeWarning,
                2,
            )

    def _step(self, job: Job, run: Callable[[], torch.Tensor | None]) -> bool:
        """Run a job's pass and resume the job; return False if that fails."""
        job.part = None
        if self._guarded(job.call, lambda: job.resume(run())):
            return True
        job.part = None
        job.leave()
        return False

    def _open(self, stream: Stream, known: _Known) -> None:
        task = StreamTask(
            stream.call,
            self._session(known),
            stream.prefix,
            stream.sampling,
            loaded=self._loaded,
            credit=self._options.ahead,
            prefill=self._options.prefill,
            wanted=stream.wanted,
        )
        self._streams.append(task)
        self._trim()

    def _touch(self, key: int) -> _Known:
        self._known.move_to_end(key)
        return self._known[key]

    def _session(self, known: _Known) -> Session:
        if known.session is None:
            peers = partial(self._peers, known.group)
            known.session = Session(self._loaded, known.conversation, peers)
        return known.session

    def _peers(self, group: str) -> list[Session]:
        """Return the sessions of a group, most recently used first."""
        latest = reversed(self._known.values())
        return [one.session for one in latest if one.session is not None and one.group == group]

    def _images(self) -> dict[str, Image]:
        """Return the images of all conversations, by digest."""
        return {i.digest: i for one in self._known.values() for i in one.conversation.images}

    def _trim(self) -> None:
        """Free least recently used sessions until the rest fits; keep what is in use."""
        sessions = self.sessions
        for session in sessions:
            if used_bytes(sessions) <= self._options.cache_bytes:
                return
            session.shrink()

    def _extend(self, call: int, candidates: tuple[str, ...]) -> None:
        for place, (judge, known) in enumerate(self._judges):
            if judge.call == call:
                longer = judge._replace(candidates=judge.candidates + candidates)
                self._judges[place] = longer, known

    def _grant(self, call: int, tokens: int) -> None:
        for task in self._streams:
            if task.call == call:
                task.credit += tokens

    def _cancel(self, call: int) -> None:
        self._judges = deque(item for item in self._judges if item[0].call != call)
        self._opening = deque(item for item in self._opening if item[0].call != call)
        for task in [task for task in self._streams if task.call == call]:
            self._close(task)
        for job in [job for job in self._begun if job.call == call]:
            self._begun.remove(job)
            job.leave()

    def _close(self, task: StreamTask) -> None:
        if task in self._streams:
            self._streams.remove(task)
            task.close()

    def _guarded(self, call: int, unit: Callable[[], None]) -> bool:
        """Run a function; report an error to its caller only, and return whether it succeeded."""
        try:
            unit()
        except DreamrError as error:
            self._send(Failed(call, type(error).__name__, first_line(error)))
            return False
        except Exception as error:
            text = f"the model failed: {type(error).__name__}: {first_line(error)}"
            self._send(Failed(call, "EngineError", text))
            return False
        return True


def _given(rows: torch.Tensor) -> torch.Tensor:
    return rows
