"""Driving a schedule over engines (stub: the signature is final, the body follows)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from dreamr.conversation import Conversation
from dreamr.engines import Engine, Sampling
from dreamr.gate import FixedGate, Gate
from dreamr.schedules import Options
from dreamr.steps import Cutting
from dreamr.trace import Event, Result


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything about a run except the conversation and the engines.

    method: a name of `dreamr.schedules.METHODS`. cutting: where steps end and how an answer is
    marked. sampling: of both models; draft_sampling where the draft's differs; their `max_tokens`
    bounds one stream, `options.max_tokens` the run. stall_seconds: how long no engine may give any
    sign of life before the run fails.
    """

    method: str = "fpsr"
    options: Options = field(default_factory=Options)
    gate: Gate = field(default_factory=FixedGate)
    cutting: Cutting = field(default_factory=Cutting)
    sampling: Sampling = field(default_factory=Sampling)
    draft_sampling: Sampling | None = None
    stall_seconds: float = 300.0


@asynccontextmanager
async def open_run(
    conversation: Conversation,
    *,
    target: Engine,
    draft: Engine | None = None,
    settings: Settings | None = None,
) -> AsyncGenerator[AsyncIterator[Event], None]:
    """Start a run; iterate over its events, which end with RunFinished.

    Use as `async with open_run(...) as events: async for event in events: ...`. Leaving the block,
    for whatever reason, cancels everything that is still under way. The run never waits for its
    consumer. The engines stay open and may serve several runs at once.

    Raises:
        RunFailed: from the iteration, after RunFinished: the target was lost or stalled. Its
            `result` is the Result so far.
        Unsupported: an unknown method, no draft where the method needs one, or a target that cannot
            judge where it must.
    """
    raise NotImplementedError
    yield


async def run(
    conversation: Conversation,
    *,
    target: Engine,
    draft: Engine | None = None,
    settings: Settings | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Result:
    """Run to the end; `on_event` sees each event as it happens. Arguments and errors: `open_run`."""
    raise NotImplementedError
