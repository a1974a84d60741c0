"""A server on a real socket that answers with given bytes, with or without TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Answer = Callable[[bytes], bytes | None]


@dataclass
class RawServer:
    """What a raw server has seen.

    Attributes:
        port: Port on the loopback addresses.
        connections: Number of accepted connections.
        requests: The first bytes of each connection.
    """

    port: int
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)


def response(status: str, body: bytes = b"", **headers: str) -> bytes:
    """An HTTP response; underscores in names of headers become hyphens."""
    fields = {"Content-Length": str(len(body)), "Connection": "close", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


@contextmanager
def raw_server(
    answer: bytes | Answer | None, context: ssl.SSLContext | None = None
) -> Iterator[RawServer]:
    """Answer each connection, then close it.

    Args:
        answer: Bytes, or a function of the request that returns them. None: read, never answer.
        context: For TLS.
    """
    link = socket.create_server(("127.0.0.1", 0))
    seen = RawServer(link.getsockname()[1])
    done = threading.Event()

    def serve(connection: socket.socket) -> None:
        request = b""
        with suppress(OSError), connection:
            connection.settimeout(30)
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            with connection:
                request = connection.recv(2**16)
                seen.requests.append(request)
                found = answer(request) if callable(answer) else answer
                if found is None:
                    done.wait(30)
                else:
                    connection.sendall(found)

    def accept() -> None:
        with suppress(OSError):  # the socket is closed at the end
            while True:
                connection, _ = link.accept()
                seen.connections += 1
                threading.Thread(target=serve, args=[connection], daemon=True).start()

    with link:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield seen
        finally:
            done.set()
            link.shutdown(socket.SHUT_RDWR)


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as link:
        return int(link.getsockname()[1])
