"""Lanes and judge calls in progress, and splitting a lane's stream into steps."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field

import anyio

from dreamr.engines import Candidates, Chunk
from dreamr.gate import Query
from dreamr.steps import Ending, Finish, Role, Step, StepFormat, StepSplitter

CLOSE_SECONDS = 5.0  # longest wait for an engine to close a stream


@dataclass(slots=True, kw_only=True)
class Work:
    """A call of an engine in progress.

    Attributes:
        since: Time of the engine's last output, or of the start of the call (time.monotonic); None
            while the call is paused.
        stalled: Whether the call was canceled because the engine gave no output.
        scope: Scope that cancels the call.
    """

    since: float | None = field(default_factory=time.monotonic)
    stalled: bool = False
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def check(self, stall_seconds: float) -> None:
        """Cancel the call if the engine gave no output for `stall_seconds` seconds."""
        if self.since is not None and time.monotonic() - self.since >= stall_seconds:
            self.stalled = True
            self.scope.cancel()


class JudgeCall(Work):
    """An open judge call; candidates can be appended until the engine begins.

    Attributes:
        ended: Set when the call has ended, also if it failed or was canceled.
    """

    def __init__(
        self,
        number: int,
        prefix: tuple[str, ...],
        steps: Iterable[Step],
        query: Query,
        resamples: int = 0,
    ) -> None:
        super().__init__()
        self.ended = anyio.Event()
        self.resamples = resamples
        self.query = query
        self.number = number
        self.prefix = prefix
        self.steps = list(steps)
        self.candidates = Candidates(step.text for step in self.steps)

    def extend(self, steps: Iterable[Step]) -> None:
        """Append steps; the engine ignores them if it has already begun."""
        for step in steps:
            self.steps.append(step)
            self.candidates.add(step.text)

    def positions(self, count: int = 0) -> tuple[int, ...]:
        """Return the positions of the first `count` steps, or of all steps for 0."""
        first = len(self.prefix)
        return tuple(range(first, first + (count or len(self.steps))))


@dataclass(slots=True)
class Lane(Work):
    """An open lane; `since` is None while it waits for credit.

    Attributes:
        number: Number of the lane.
        role: Model that writes.
        position: Position of the step that is being written.
        credit: Number of steps that the lane may still write.
        resample: Number of the candidate for a rejected step; 0 for an ordinary lane.
        tokens: Number of tokens written so far.
        began: Time of the first text (time.monotonic), None before.
        granted: Event that is set by `grant`; None unless the lane waits.
        splitter: Splits what is written into steps, None before the lane begins.
        answer: What is written of an answer in its form.
    """

    number: int
    role: Role
    position: int
    credit: int
    resample: int = 0
    tokens: int = 0
    began: float | None = None
    granted: anyio.Event | None = None
    splitter: StepSplitter | None = None
    answer: str = ""

    @property
    def unfinished(self) -> Step | None:
        """What was written of the current step; None if that is nothing but white space."""
        if self.answer.strip():
            return Step(self.answer, self.tokens, Ending.CAP)
        if self.splitter is None or not self.splitter.pending.strip():
            return None
        return Step(self.splitter.pending, self.splitter.pending_tokens, Ending.CAP)

    def grant(self, steps: int) -> None:
        """Add credit and wake the lane if it waits."""
        self.credit += steps
        if self.granted is not None:
            self.granted.set()


@dataclass(frozen=True, slots=True)
class StepStream:
    """Splits a stream into steps and pauses it when the lane's credit is used up.

    Attributes:
        lane: The lane; updated while the stream runs.
        step_format: How steps end and how an answer is marked.
        on_step: Called with each step, and with the finish of the stream on the last one. If the
            stream ends without another step, called with None and the finish.
        on_pause: Called with True when the lane pauses and with False when it resumes.
        begun: Text in front of the stream that belongs to its first step; its tokens do not count.
        prefix: The assistant's text before that.
    """

    lane: Lane
    step_format: StepFormat
    on_step: Callable[[Step | None, Finish | None], None]
    on_pause: Callable[[bool], None]
    begun: str = ""
    prefix: str = ""

    async def run(self, stream: AsyncGenerator[Chunk, None]) -> Finish:
        """Consume the stream to its end and return its finish; always closes the stream.

        Raises:
            Exception: Any error of the engine.
        """
        try:
            return await self._write(stream)
        finally:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await stream.aclose()

    async def _write(self, stream: AsyncGenerator[Chunk, None]) -> Finish:
        lane, splitter = self.lane, StepSplitter(self.step_format, prefix=self.prefix)
        lane.splitter = splitter
        if lane.credit <= 0:
            await self._wait_for_credit()
        if steps := splitter.push(self.begun, 0):
            await self._emit(steps, None)
        async for chunk in stream:  # runs once per token: no timers, tasks or events here
            lane.since = time.monotonic()
            if lane.began is None:
                lane.began = lane.since
            lane.tokens += chunk.tokens
            steps = splitter.push(
                chunk.text, chunk.tokens, chunk.logprob, chunk.min_logprob, chunk.entropy
            )
            if chunk.finish is not None:
                return await self._end(splitter, steps, chunk.finish)
            if steps:
                if splitter.done:  # the final answer reached its cap
                    return await self._end(splitter, steps, "length")
                await self._emit(steps, None)
            if lane.credit <= 0:
                await self._wait_for_credit()
        return await self._end(splitter, [], "stop")  # the engine ended without a finish

    async def _end(self, splitter: StepSplitter, steps: list[Step], finish: Finish) -> Finish:
        """Emit the last steps, with the text that is left in the splitter as the last one."""
        if (tail := splitter.finish(truncated=finish == "length")) is not None:
            steps.append(tail)
        await self._emit(steps, finish)
        return finish

    async def _emit(self, steps: list[Step], finish: Finish | None) -> None:
        for number, step in enumerate(steps, 1):
            if self.lane.credit <= 0:
                await self._wait_for_credit()
            self.lane.credit -= 1
            self.on_step(step, finish if number == len(steps) else None)
        if not steps:
            self.on_step(None, finish)

    async def _wait_for_credit(self) -> None:
        lane = self.lane
        lane.since = None
        self.on_pause(True)
        while lane.credit <= 0:
            lane.granted = anyio.Event()
            await lane.granted.wait()
        lane.since = time.monotonic()
        self.on_pause(False)
