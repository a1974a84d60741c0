"""Running the gateway on a socket until a signal stops it."""

from __future__ import annotations

import contextlib
import ctypes
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
from dreamr.serving.gateway.protocol import HEAD_BYTES, protocol_class
from dreamr.serving.options import ServeOptions

_WARM_UP = Conversation.from_prompt("How are you? Answer in one sentence.")
_WARM_TOKENS = 48
_BACKLOG = 2048
_M_MMAP_THRESHOLD = -3  # of malloc.h
_LARGE_BLOCK = 2**20  # bytes


async def serve(
    reasoner: Reasoner,
    options: ServeOptions,
    listening: socket.socket,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve an open Reasoner until SIGINT or SIGTERM.

    The gateway then accepts no new requests, and running ones have `options.grace` seconds to
    finish.

    Args:
        reasoner: An open Reasoner; it stays open.
        options: Access and limits.
        listening: Socket from `listen`; it stays open.
        ready: Called with the gateway's URL when it accepts requests.

    Raises:
        BadOption: If the file of API keys cannot be read.
        RunFailed: If a model fails in the warm-up run.
        Unsupported: If the target cannot judge.
    """
    _return_large_blocks()
    load = Load(aware=options.load_aware)
    app = build_app(reasoner, options, load=load)
    with _ignoring_repeated_signals():
        await _warm_up(reasoner, load)
        ready(_address(listening, options.host))
        await http_server(app, options).serve(sockets=[listening])


def http_server(app: Starlette, options: ServeOptions) -> uvicorn.Server:
    """Return the HTTP server for the application."""
    config = uvicorn.Config(
        app,
        http=protocol_class(options.max_connections),
        h11_max_incomplete_event_size=HEAD_BYTES,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=options.grace,
    )
    return uvicorn.Server(config)


def _return_large_blocks() -> None:
    """Have the allocator of glibc return large blocks to the system when they are freed.

    By default, it keeps blocks of up to 32 MB once it has seen one, which adds up with fragments.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


async def _warm_up(reasoner: Reasoner, load: Load) -> None:
    """Check that the models work together and measure the speed of the idle target."""
    if "target" in reasoner.models:
        alone = replace(reasoner.options, method="target", max_tokens=_WARM_TOKENS)
        load.learn(await reasoner.reason(_WARM_UP, options=alone), alone=True)
    await reasoner.reason(_WARM_UP, options=replace(reasoner.options, max_tokens=_WARM_TOKENS))
    for model in reasoner.models.values():
        model.engine.forget(_WARM_UP)


def listen(options: ServeOptions) -> socket.socket:
    """Open the listening socket.

    Called before the models are loaded, so that a port in use is reported at once.

    Raises:
        BadOption: If the address is not available.
    """
    try:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        link = socket.create_server((options.host, options.port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise BadOption(
            f"cannot listen on {options.host} port {options.port}: "
            f"{getattr(error, 'strerror', None) or error}; choose another --host or --port"
        ) from error
    # Accepted connections inherit it. Nagle's algorithm would hold a step back until the client
    # acknowledges the one before.
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def _address(listening: socket.socket, host: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}"


@contextmanager
def _ignoring_repeated_signals() -> Iterator[None]:
    """Ignore SIGINT and SIGTERM after the block: uvicorn raises them again when it has stopped."""

    def stopped(number: int, frame: FrameType | None) -> None:
        return None

    before = {number: signal.signal(number, stopped) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
