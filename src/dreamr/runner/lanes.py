"""One stream of an engine, cut into steps, within its credit."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field

import anyio

from dreamr.engines import Candidates, Chunk
from dreamr.gate import Query
from dreamr.steps import Finish, Role, Step, StepFormat, StepSplitter

CLOSE_SECONDS = 5.0  # an engine that takes longer to stop a stream is left to its own devices


@dataclass(slots=True, kw_only=True)
class Work:
    """An engine at work.

    since: when the engine gave the last sign of life (time.monotonic), None while it is not its
    turn.
    """

    since: float | None = field(default_factory=time.monotonic)
    stalled: bool = False
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def check(self, stall_seconds: float) -> None:
        """Cancel the work if the engine has given no sign of life for so long."""
        if self.since is not None and time.monotonic() - self.since >= stall_seconds:
            self.stalled = True
            self.scope.cancel()


class JudgeCall(Work):
    """An open judge call; it may grow."""

    def __init__(
        self,
        number: int,
        prefix: tuple[str, ...],
        steps: Iterable[Step],
        query: Query,
        resamples: int = 0,
    ) -> None:
        super().__init__()
        self.resamples = resamples
        self.query = query
        self.number = number
        self.prefix = prefix
        self.steps = list(steps)
        self.candidates = Candidates(step.text for step in self.steps)

    def extend(self, steps: Iterable[Step]) -> None:
        """Judge these too, if the engine has not begun."""
        for step in steps:
            self.steps.append(step)
            self.candidates.add(step.text)

    def positions(self, count: int = 0) -> tuple[int, ...]:
        """Of the first `count` steps, or of all."""
        first = len(self.prefix)
        return tuple(range(first, first + (count or len(self.steps))))


@dataclass(slots=True)
class Lane(Work):
    """A lane under way; while it waits for credit, `since` is None.

    credit: how many more steps it may write. resample: the number of the candidate after a rejected
    step, 0: none.
    tokens: what it wrote so far. began: when its first piece came (time.monotonic).
    """

    number: int
    role: Role
    position: int
    credit: int
    resample: int = 0
    tokens: int = 0
    began: float | None = None
    granted: anyio.Event | None = None  # while it waits

    def grant(self, steps: int) -> None:
        """Let a waiting lane go on."""
        self.credit += steps
        if self.granted is not None:
            self.granted.set()


@dataclass(frozen=True, slots=True)
class StepStream:
    """Carries a stream into steps.

    on_step: called with each step, and how the stream ended where it did; without a step where it
    ended before one. on_pause: called with True where the lane waits for credit, False where it
    goes on. begun: the text in front of the stream that belongs to its first step; none of its
    tokens.
    """

    lane: Lane
    step_format: StepFormat
    on_step: Callable[[Step | None, Finish | None], None]
    on_pause: Callable[[bool], None]
    begun: str = ""

    async def run(self, stream: AsyncGenerator[Chunk, None]) -> Finish:
        """Take the stream to its end; closes it, however this is left.

        Raises:
            Exception: whatever the engine raises.
        """
        try:
            return await self._write(stream)
        finally:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await stream.aclose()

    async def _write(self, stream: AsyncGenerator[Chunk, None]) -> Finish:
        lane, splitter = self.lane, StepSplitter(self.step_format)
        if lane.credit <= 0:
            await self._wait_for_credit()
        if steps := splitter.push(self.begun, 0):
            await self._tell(steps, None)
        async for chunk in stream:  # once a token: no timers, tasks or events in here
            lane.since = time.monotonic()
            if lane.began is None:
                lane.began = lane.since
            lane.tokens += chunk.tokens
            steps = splitter.push(chunk.text, chunk.tokens, chunk.logprob, chunk.min_logprob)
            if chunk.finish is not None:
                return await self._end(splitter, steps, chunk.finish)
            if steps:
                if splitter.done:  # the final answer reached its cap
                    return await self._end(splitter, steps, "length")
                await self._tell(steps, None)
            if lane.credit <= 0:
                await self._wait_for_credit()
        return await self._end(splitter, [], "stop")  # an engine that ended without saying so

    async def _end(self, splitter: StepSplitter, steps: list[Step], finish: Finish) -> Finish:
        """The stream has ended: what is left in the splitter is the last step."""
        if (tail := splitter.finish(truncated=finish == "length")) is not None:
            steps.append(tail)
        await self._tell(steps, finish)
        return finish

    async def _tell(self, steps: list[Step], finish: Finish | None) -> None:
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
