"""A pair of models that the gateway serves, and what is measured about it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from anyio.abc import TaskStatus

from dreamr._concurrency import gather_bounded, root_cause
from dreamr._load import Load
from dreamr._options import RunOptions
from dreamr._reasoner import Reasoner
from dreamr.engines import OpenModel
from dreamr.engines.shared import SharedModels
from dreamr.engines.waiting import WaitingOpener
from dreamr.serving.gateway.readiness import Readiness
from dreamr.serving.options import ServeOptions
from dreamr.steps import Role


@dataclass(frozen=True, slots=True, eq=False)
class ServedPair:
    """A pair of models, or one model alone, under the name that clients use.

    Attributes:
        name: Served name.
        reasoner: An open Reasoner. The caller keeps it open while the gateway runs.
        load: Load control, with any earlier measurements of the target's speed.
        readiness: Answers of the models to checks, which the caller runs.
    """

    name: str
    reasoner: Reasoner
    load: Load
    readiness: Readiness

    @classmethod
    def of(
        cls, name: str, reasoner: Reasoner, options: ServeOptions, *, load: Load | None = None
    ) -> ServedPair:
        """Return a pair about which nothing is measured yet.

        Args:
            name: Served name.
            reasoner: An open Reasoner.
            options: Options of the gateway.
            load: Load control; that of the Reasoner's options by default.
        """
        load = load or Load(aware=reasoner.options.load_aware)
        return cls(name, reasoner, load, Readiness(reasoner, options.ready_interval))


def reasoners_for(
    pairs: Mapping[str, RunOptions],
    options: ServeOptions,
    open_model: OpenModel,
    show: Callable[[str], None] = lambda line: None,
) -> dict[str, Reasoner]:
    """Return a Reasoner for each pair, not open yet, which waits for servers that are starting.

    A local model that several pairs open in the same way is loaded once.

    Args:
        pairs: Options of the runs of each pair, by its served name.
        options: Options of the gateway: how long to wait, and whether lost models are reopened.
        open_model: Opens a model.
        show: Called with a line on the progress.
    """
    reopen = options.on_lost == "restart"
    found = {}
    shared = SharedModels(open_model) if len(pairs) > 1 else open_model
    for name, run in pairs.items():
        late: tuple[Role, ...] = ("draft",) if reopen and "target" in run.roles else ()
        opener = WaitingOpener(shared, options.wait, late, show)
        found[name] = Reasoner(run, open_model=opener, reopen=reopen)
    return found


@asynccontextmanager
async def open_pairs(
    reasoners: Mapping[str, Reasoner], options: ServeOptions
) -> AsyncGenerator[list[ServedPair]]:
    """Open Reasoners side by side, and close them at the end.

    Args:
        reasoners: At least one Reasoner, by the served name of its pair.
        options: Options of the gateway.

    Raises:
        DreamrError: If one cannot be opened. The others are closed.
    """
    ended = anyio.Event()

    async def hold(reasoner: Reasoner, *, task_status: TaskStatus[None]) -> None:
        async with reasoner:  # it must be closed by the task that opened it
            task_status.started()
            await ended.wait()

    async def open_one(reasoner: Reasoner) -> None:
        await tasks.start(hold, reasoner)

    try:
        async with anyio.create_task_group() as tasks:
            await gather_bounded(reasoners.values(), open_one, len(reasoners))
            yield [ServedPair.of(name, one, options) for name, one in reasoners.items()]
            ended.set()
    except BaseExceptionGroup as group:
        raise root_cause(group) from None


def joint_status(pairs: Sequence[ServedPair]) -> str:
    """Return the status of pairs: 'ready', 'degraded' if some requests can be answered, 'lost'."""
    if all(pair.readiness.status == "ready" for pair in pairs):
        return "ready"
    return "degraded" if any(pair.readiness.usable for pair in pairs) else "lost"
