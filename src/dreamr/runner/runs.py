"""Starting a run and listening to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import anyio

from dreamr.conversation import Conversation
from dreamr.engines import Engine
from dreamr.errors import RunFailed, Unsupported
from dreamr.runner.config import RunConfig
from dreamr.runner.driver import Driver
from dreamr.runner.signal_queue import SignalQueue
from dreamr.schedules import by_name, method
from dreamr.steps import Role
from dreamr.trace import Event, Result, RunFinished


@asynccontextmanager
async def open_run(
    conversation: Conversation,
    *,
    target: Engine | None,
    draft: Engine | None = None,
    config: RunConfig | None = None,
) -> AsyncGenerator[AsyncIterator[Event], None]:
    """Start a run; iterate over its events, which end with RunFinished.

    Use as `async with open_run(...) as events: async for event in events: ...`. Leaving the block,
    for whatever reason, cancels everything that is still under way. The run never waits for its
    consumer. The engines stay open and may serve several runs at once.

    target: None where the method has no use for one, as draft.

    Raises:
        RunFailed: from the iteration, after RunFinished: the target was lost or stalled. Its
            `result` is the Result so far.
        Unsupported: an unknown method, no draft or target where the method needs one, or a target
            that cannot judge where it must.
    """
    config = config or RunConfig()
    schedule = by_name(config.method, config.options)
    engines = _engines(target, draft, config.method)
    queue = SignalQueue[Event]()
    driver = Driver(conversation, engines, schedule, config, queue.put)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(driver.drive)
        try:
            async with aclosing(_until_finished(queue)) as events:
                yield events
        except Exception as error:  # a task group would wrap it in a group
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def run(
    conversation: Conversation,
    *,
    target: Engine | None,
    draft: Engine | None = None,
    config: RunConfig | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Result:
    """Run to the end; `on_event` sees each event as it happens. Else as `open_run`."""
    async with open_run(conversation, target=target, draft=draft, config=config) as events:
        async for event in events:
            if on_event is not None:
                on_event(event)
    assert isinstance(event, RunFinished)
    return event.result


async def _until_finished(queue: SignalQueue[Event]) -> AsyncGenerator[Event, None]:
    """The events up to the last; then the failure, if it was one."""
    while True:
        event = await queue.get()
        yield event
        if isinstance(event, RunFinished):
            result = event.result
            if result.error is not None:
                raise RunFailed(result.error, result)
            return


def _engines(target: Engine | None, draft: Engine | None, name: str) -> dict[Role, Engine]:
    """The engines that the method uses."""
    used = method(name)
    given: dict[Role, Engine | None] = {"draft": draft, "target": target}
    engines: dict[Role, Engine] = {}
    for role in used.roles:
        if (engine := given[role]) is None:
            raise Unsupported(f"method {name!r} needs a {role} model")
        engines[role] = engine
    if used.judges and not engines["target"].capabilities.judge:
        model = engines["target"].name
        raise Unsupported(f"{model} cannot judge; only method 'target' works with it")
    return engines
