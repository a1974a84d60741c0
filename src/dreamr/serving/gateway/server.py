"""Running the gateway on a socket until a signal stops it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

import anyio
import uvicorn
from starlette.types import ASGIApp

from dreamr._messages import reason
from dreamr._option_specs import BadOption
from dreamr.conversation import Conversation
from dreamr.runner import RunHook
from dreamr.serving.gateway.app import build_app
from dreamr.serving.gateway.draining import Draining
from dreamr.serving.gateway.keys import ApiKeys, read_keys
from dreamr.serving.gateway.logs import log
from dreamr.serving.gateway.protocol import HEAD_BYTES, protocol_class
from dreamr.serving.gateway.proxies import TrustedProxies
from dreamr.serving.gateway.served_pair import ServedPair
from dreamr.serving.options import ServeOptions
from dreamr.serving.store import Store
from dreamr.steps import Role

_WARM_UP = Conversation.from_prompt("How are you? Answer in one sentence.")
_WARM_TOKENS = 48
_BACKLOG = 2048
_LOST_SECONDS = 2.0  # a model that is lost for so long ends the gateway with --on-lost exit
_M_MMAP_THRESHOLD = -3  # of malloc.h
_LARGE_BLOCK = 2**20  # bytes
# Beside a thousand streams, a collection of the oldest generation stops all of them for 0.6 s. By
# default, one occurs about once a minute.
_COLLECT_AFTER = 5_000, 10, 100


async def serve(
    pairs: Sequence[ServedPair],
    options: ServeOptions,
    listening: socket.socket,
    ready: Callable[[str], None] = lambda url: None,
    keys: ApiKeys | None = None,
    hooks: Sequence[RunHook] = (),
    store: Store | None = None,
) -> tuple[str, Role] | None:
    """Serve pairs of models until SIGINT or SIGTERM.

    After SIGTERM, `/ready` has status 503 and new requests are refused for `options.drain` seconds,
    so that load balancers notice. The gateway then accepts no connections, and running requests
    have `options.grace` seconds to finish. SIGINT skips the first part. SIGHUP reads the file of
    keys again.

    Args:
        pairs: The pairs, whose Reasoners stay open.
        options: Access and limits.
        listening: Socket from `listen`; it stays open.
        ready: Called with the gateway's URL when it accepts requests.
        keys: Accepted keys; read from the file or variable of `options` by default.
        hooks: Hooks of all runs.
        store: State that replicas share; the one that `options` name by default.

    Returns:
        The served name of the pair and the role of the lost model that ended the gateway with
        `--on-lost exit`, None if a signal did.

    Raises:
        BadOption: If the file of API keys cannot be read, the address of the store is invalid, or
            two pairs have the same name.
        RunFailed: If a model fails in the warm-up run.
        Unsupported: If a target cannot judge.
    """
    _return_large_blocks()
    draining = Draining()
    keys = keys or ApiKeys(read_keys(options), TrustedProxies(options.trusted_proxies))
    app = build_app(pairs, options, keys=keys, draining=draining, hooks=hooks, store=store)
    server = _Server(_config(app, options), options, draining, pairs)
    with _reloading(keys, options):
        for pair in pairs:
            await warm_up(pair)
        with _collecting_rarely():
            ready(_address(listening, options.host))
            async with anyio.create_task_group() as tasks:
                for pair in pairs:
                    tasks.start_soon(pair.readiness.watch)
                await server.serve(sockets=[listening])
                tasks.cancel_scope.cancel()
    return server.lost


def http_server(app: ASGIApp, options: ServeOptions) -> uvicorn.Server:
    """Return the HTTP server for the application."""
    return uvicorn.Server(_config(app, options))


def _config(app: ASGIApp, options: ServeOptions) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol_class(options.max_connections),
        h11_max_incomplete_event_size=HEAD_BYTES,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # by default, everyone on this machine may name any address
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=options.grace,
    )


class _Server(uvicorn.Server):
    """Server that refuses new requests for a while before it stops."""

    def __init__(
        self,
        config: uvicorn.Config,
        options: ServeOptions,
        draining: Draining,
        pairs: Sequence[ServedPair],
    ) -> None:
        super().__init__(config)
        self._options, self._draining, self._pairs = options, draining, pairs
        self._drained: float | None = None  # time at which draining ends
        self._lost_since: float | None = None
        self.lost: tuple[str, Role] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM while it serves; uvicorn would raise them again at the end."""
        handled = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain at the first SIGTERM; stop at once at any other signal."""
        if sig == signal.SIGTERM and not self._draining.begun and self._options.drain > 0:
            self._draining.begun = True
            self._drained = time.monotonic() + self._options.drain
            return
        self._draining.begun = True
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Stop when draining is over, or when a model is lost for good."""
        now = time.monotonic()
        if self._drained is not None and now >= self._drained:
            self.should_exit = True
        if self._options.on_lost == "exit":
            self._check_models(now)
        return await super().on_tick(counter)

    def _check_models(self, now: float) -> None:
        lost = [(pair.name, role) for pair in self._pairs for role in pair.reasoner.models.lost]
        if not lost:
            self._lost_since = None
            return
        self._lost_since = self._lost_since or now
        if now - self._lost_since >= _LOST_SECONDS and self.lost is None:
            self.lost = lost[0]
            message = "%s: %s lost: stopping, as --on-lost exit demands"
            log(logging.ERROR, message, *lost[0])
            self._draining.begun = self.should_exit = True


def _return_large_blocks() -> None:
    """Have the allocator of glibc return large blocks to the system when they are freed.

    By default, it keeps blocks of up to 32 MB once it has seen one, which adds up with fragments.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


@contextmanager
def _collecting_rarely() -> Iterator[None]:
    """Have the garbage collector look at old objects rarely, and never at those that exist now.

    Objects that were frozen before stay so.
    """
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if not frozen:
            gc.unfreeze()


async def warm_up(pair: ServedPair) -> None:
    """Check that the models work together and measure the speed of the idle target."""
    reasoner = pair.reasoner
    if "target" in reasoner.models:
        alone = replace(reasoner.options, method="target", max_tokens=_WARM_TOKENS)
        pair.load.learn(await reasoner.reason(_WARM_UP, options=alone), alone=True)
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
            f"cannot listen on {options.host} port {options.port}: {_why(error)}; choose another "
            "--host or --port"
        ) from error
    # Accepted connections inherit it. Nagle's algorithm would hold a step back until the client
    # acknowledges the one before.
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def _why(error: OSError | OverflowError) -> str:
    """Return what the system reports; Python adds the address to it once more."""
    number = getattr(error, "errno", None) or 0
    return os.strerror(number) if number > 0 else reason(error)


def _address(listening: socket.socket, host: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}"


@contextmanager
def _reloading(keys: ApiKeys, options: ServeOptions) -> Iterator[None]:
    """Read the file of keys again at SIGHUP; an invalid one changes nothing."""
    if options.keys_file is None:  # then a lost terminal ends the gateway, as usual
        yield
        return
    tasks: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        try:
            clients = await anyio.to_thread.run_sync(read_keys, options, abandon_on_cancel=True)
        except BadOption as error:
            log(logging.ERROR, "the keys stay as they are: %s", error)
            return
        keys.replace(clients)
        log(logging.INFO, "%d keys read from --keys-file %s", len(clients), options.keys_file)

    def start() -> None:
        tasks.add(task := loop.create_task(reload()))
        task.add_done_callback(tasks.discard)

    loop = asyncio.get_running_loop()
    # `loop.remove_signal_handler` would leave no handler, and no way for signals to wake the loop.
    before = signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(start))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
        for task in tasks:
            task.cancel()
