"""The gateway as an application of another server than its own, such as a replica of Ray Serve."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.lifespan.on import LifespanOn

from dreamr._options import RunOptions
from dreamr.engines import OpenModel, open_model
from dreamr.serving.gateway.app import build_app
from dreamr.serving.gateway.served_pair import open_pairs, reasoners_for
from dreamr.serving.gateway.server import warm_up
from dreamr.serving.options import ServeOptions
from dreamr.serving.store.opening import opened_store


def hosted_app(
    pairs: Mapping[str, RunOptions], options: ServeOptions, open_model: OpenModel = open_model
) -> Starlette:
    """Return the gateway as an application that opens its models when it starts.

    The server must run its lifespan. A server that cancels the request of a client that has left,
    instead of sending a message, is understood too.

    Args:
        pairs: Options of the runs of each pair, with its models, by its served name.
        options: Access and limits. Where to listen and how to stop is left to the server.
        open_model: Opens the models.
    """
    hosted = _Hosted(pairs, replace(options, on_lost="restart"), open_model)
    return Starlette(routes=[Mount("/", app=hosted)], lifespan=hosted.running)


class _Hosted:
    """The gateway while it runs."""

    def __init__(
        self, pairs: Mapping[str, RunOptions], options: ServeOptions, open_model: OpenModel
    ) -> None:
        self._pairs, self._options, self._open_model = pairs, options, open_model
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        assert self._app is not None, "the application has not been started"
        await self._app(scope, receive, send)

    @asynccontextmanager
    async def running(self, _: Starlette) -> AsyncIterator[None]:
        """Open the models, check that they work together, and close them at the end."""
        reasoners = reasoners_for(self._pairs, self._options, self._open_model)
        async with (
            opened_store(self._options) as store,
            open_pairs(reasoners, self._options) as pairs,
        ):
            app = build_app(pairs, self._options, store=store)
            for pair in pairs:
                await warm_up(pair)
            background = LifespanOn(uvicorn.Config(app, lifespan="on", log_config=None))
            await background.startup()
            if background.should_exit:  # it has logged why
                raise RuntimeError("the gateway's work in the background cannot start")
            self._app = app
            async with anyio.create_task_group() as tasks:
                for pair in pairs:
                    tasks.start_soon(pair.readiness.watch)
                yield
                tasks.cancel_scope.cancel()
            await background.shutdown()
