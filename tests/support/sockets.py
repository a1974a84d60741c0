"""A scripted server on a real socket, for commands that run in processes of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import httpx2
import uvicorn

from dreamr.serving.gateway import listen
from dreamr.serving.options import ServeOptions


class Handler(Protocol):
    """A scripted server."""

    async def handle(self, request: httpx2.Request) -> httpx2.Response: ...


def application(served: Handler) -> Any:
    """An ASGI application that answers as the scripted server does."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        request = httpx2.Request(
            scope["method"], f"http://served{scope['path']}", headers=scope["headers"], content=body
        )
        response = await served.handle(request)
        raw = ((name.lower(), value) for name, value in response.headers.raw)
        headers = [(name, value) for name, value in raw if name != b"content-length"]
        status = response.status_code
        await send({"type": "http.response.start", "status": status, "headers": headers})
        async for chunk in response.stream:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


@contextmanager
def on_socket(served: Handler, port: int = 0, **config: Any) -> Iterator[str]:
    """Yield the server's base URL, without /v1; `config` goes to uvicorn."""
    link = listen(ServeOptions(port=port))
    server = uvicorn.Server(
        uvicorn.Config(application(served), lifespan="off", log_level="error", **config)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [link]}, daemon=True)
    with link:
        thread.start()
        try:
            yield f"http://127.0.0.1:{link.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()
