"""A gateway with scripted models on a real socket, in a separate thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import uvicorn

from dreamr import RunOptions
from dreamr.serving.gateway import http_server, listen
from dreamr.serving.options import ServeOptions
from dreamr.speech import OpenTranscriber, open_transcriber
from support.gateways import gateway
from support.pairs import Pair


@contextmanager
def listening(
    pair: Pair | None = None,
    options: RunOptions | None = None,
    open_transcriber: OpenTranscriber = open_transcriber,
    **limits: Any,
) -> Iterator[str]:
    """Run a gateway and yield its URL."""
    server: uvicorn.Server | None = None
    ready = threading.Event()
    link = listen(ServeOptions(port=0))

    async def main() -> None:
        nonlocal server
        async with gateway(pair, options, open_transcriber=open_transcriber, **limits) as gate:
            server = http_server(gate.app, ServeOptions(**limits))
            ready.set()
            await server.serve(sockets=[link])

    thread = threading.Thread(target=anyio.run, args=(main,), daemon=True)
    with link:
        thread.start()
        assert ready.wait(20)
        try:
            yield f"http://127.0.0.1:{link.getsockname()[1]}"
        finally:
            assert server is not None
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()
