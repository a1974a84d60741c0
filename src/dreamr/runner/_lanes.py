"""One stream of an engine, cut into steps, within its credit."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import anyio

from dreamr.engines import Chunk, Context, Engine, Sampling
from dreamr.schedules import Finish
from dreamr.steps import Cutting, Step, StepCutter
from dreamr.trace import Role

CLOSE_SECONDS = 5.0  # an engine that takes longer to stop a stream is left to its own devices


@dataclass(slots=True)
class Lane:
    """A lane under way. credit: how many more steps it may say; tokens: what it wrote so far."""

    number: int
    role: Role
    position: int
    credit: int
    tokens: int = 0
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    granted: anyio.Event = field(default_factory=anyio.Event)

    def grant(self, steps: int) -> None:
        """Let a waiting lane go on."""
        self.credit += steps
        self.granted.set()


@dataclass(frozen=True, slots=True)
class Pump:
    """Carries a stream into steps.

    say: called with each step, and how the stream ended where it did; without a step where it
    ended before one. pause: called with True where the lane waits for credit, False where it goes
    on.
    """

    lane: Lane
    cutting: Cutting
    stall_seconds: float
    say: Callable[[Step | None, Finish | None], None]
    pause: Callable[[bool], None]

    async def run(self, engine: Engine, context: Context, sampling: Sampling) -> Finish:
        """Write until the stream ends; closes it, however this is left.

        Raises:
            TimeoutError: the engine gave no sign of life for `stall_seconds`.
            Exception: whatever the engine raises.
        """
        stream = engine.stream(context, sampling)
        try:
            return await self._write(stream)
        finally:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await stream.aclose()

    async def _write(self, stream: AsyncGenerator[Chunk, None]) -> Finish:
        cutter = StepCutter(self.cutting)
        while True:
            await self._wait_for_credit()
            chunk = await self._next(stream)
            self.lane.tokens += chunk.tokens
            steps = cutter.push(chunk.text, chunk.tokens)
            finish = chunk.finish
            if finish is not None and (tail := cutter.finish(truncated=finish == "length")):
                steps.append(tail)
            elif cutter.done and finish is None:
                finish = "length"  # the final answer reached its cap
            await self._tell(steps, finish)
            if finish is not None:
                return finish

    async def _tell(self, steps: list[Step], finish: Finish | None) -> None:
        for number, step in enumerate(steps, 1):
            await self._wait_for_credit()
            self.lane.credit -= 1
            self.say(step, finish if number == len(steps) else None)
        if finish is not None and not steps:
            self.say(None, finish)

    async def _wait_for_credit(self) -> None:
        if self.lane.credit > 0:
            return
        self.pause(True)
        while self.lane.credit <= 0:
            self.lane.granted = anyio.Event()
            await self.lane.granted.wait()
        self.pause(False)

    async def _next(self, stream: AsyncGenerator[Chunk, None]) -> Chunk:
        with anyio.fail_after(self.stall_seconds):
            try:
                return await anext(stream)
            except StopAsyncIteration:  # an engine that forgot to say so
                return Chunk("", 0, "stop")
