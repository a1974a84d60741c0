"""The gateway as an application of another server than its own, such as a replica of Ray Serve."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.lifespan.on import LifespanOn

from dreamr._options import RunOptions
from dreamr._reasoner import Reasoner
from dreamr.engines import OpenModel, open_model
from dreamr.engines.waiting import WaitingOpener
from dreamr.serving.gateway.app import build_app
from dreamr.serving.gateway.served_pair import ServedPair
from dreamr.serving.gateway.server import warm_up
from dreamr.serving.options import ServeOptions
from dreamr.steps import Role


def hosted_app(
    runs: RunOptions, options: ServeOptions, open_model: OpenModel = open_model
) -> Starlette:
    """Return the gateway as an application that opens its models when it starts.

    The server must run its lifespan. A server that cancels the request of a client that has left,
    instead of sending a message, is understood too.

    Args:
        runs: Options of runs, with the models.
        options: Access and limits. Where to listen and how to stop is left to the server.
        open_model: Opens the models.
    """
    hosted = _Hosted(runs, options, open_model)
    return Starlette(routes=[Mount("/", app=hosted)], lifespan=hosted.running)


class _Hosted:
    """The gateway while it runs."""

    def __init__(self, runs: RunOptions, options: ServeOptions, open_model: OpenModel) -> None:
        self._runs, self._options, self._open_model = runs, options, open_model
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        assert self._app is not None, "the application has not been started"
        await self._app(scope, receive, send)

    @asynccontextmanager
    async def running(self, _: Starlette) -> AsyncIterator[None]:
        """Open the models, check that they work together, and close them at the end."""
        late: tuple[Role, ...] = ("draft",) if "target" in self._runs.roles else ()
        opener = WaitingOpener(self._open_model, self._options.wait, late)
        async with Reasoner(self._runs, open_model=opener, reopen=True) as reasoner:
            pair = ServedPair.of(self._options.served_model_name, reasoner, self._options)
            app = build_app([pair], self._options)
            await warm_up(pair)
            batches = LifespanOn(uvicorn.Config(app, lifespan="on", log_config=None))
            await batches.startup()
            self._app = app
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(pair.readiness.watch)
                yield
                tasks.cancel_scope.cancel()
            await batches.shutdown()
