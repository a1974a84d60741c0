"""Serving until somebody says stop."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from dreamr._option_specs import BadOption
from dreamr._reasoner import Reasoner
from dreamr.conversation import Conversation
from dreamr.serving.gateway.app import build_app
from dreamr.serving.gateway.load import Load
from dreamr.serving.gateway.protocol import ImpatientProtocol
from dreamr.serving.options import ServeOptions

_WARM_UP = Conversation.from_prompt("How are you? Answer in one sentence.")
_WARM_TOKENS = 48
_BACKLOG = 2048


async def serve(
    reasoner: Reasoner,
    options: ServeOptions,
    listening: socket.socket,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve over an open Reasoner, until the process is told to stop (SIGINT, SIGTERM).

    Then nothing new is taken, and what is under way has `options.grace` seconds to end.

    Args:
        reasoner: open; it is left open.
        options: what is allowed.
        listening: from `listen`; it is left open too.
        ready: called with the address once requests can come.

    Raises:
        BadOption: the file of keys cannot be read.
        RunFailed: a model cannot answer.
        Unsupported: the target cannot judge.
    """
    load = Load(aware=options.load_aware)
    app = build_app(reasoner, options, load=load)
    with _stopping_softly():
        await _warm_up(reasoner, load)
        ready(_address(listening, options.host))
        await http_server(app, options).serve(sockets=[listening])


def http_server(app: Starlette, options: ServeOptions) -> uvicorn.Server:
    """What speaks HTTP for the application."""
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=options.grace,
    )
    return uvicorn.Server(config)


async def _warm_up(reasoner: Reasoner, load: Load) -> None:
    """See that the models work together, and how fast the target is with nobody else there."""
    if "target" in reasoner.models:
        alone = replace(reasoner.options, method="target", max_tokens=_WARM_TOKENS)
        load.learn(await reasoner.reason(_WARM_UP, options=alone), alone=True)
    await reasoner.reason(_WARM_UP, options=replace(reasoner.options, max_tokens=_WARM_TOKENS))
    for model in reasoner.models.values():
        model.engine.forget(_WARM_UP)


def listen(options: ServeOptions) -> socket.socket:
    """The socket, to be had before the models take their time: a port in use is said at once.

    Raises:
        BadOption: the address cannot be listened on.
    """
    try:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        link = socket.create_server((options.host, options.port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise BadOption(
            f"cannot listen on {options.host} port {options.port}: {error}; choose another --port"
        ) from error
    # What is accepted has it too. Else a step would wait for the acknowledgement of the last.
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def _address(listening: socket.socket, host: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}"


@contextmanager
def _stopping_softly() -> Iterator[None]:
    """Uvicorn raises the signals that stopped it once more when it is done: they end nothing."""

    def stopped(number: int, frame: FrameType | None) -> None:
        return None

    before = {number: signal.signal(number, stopped) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
