"""Clients that behave badly on a real connection."""

from __future__ import annotations

import json
import math
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import anyio
import httpx2
import pytest

from dreamr.serving.gateway import listen
from dreamr.serving.gateway import protocol as _protocol
from dreamr.serving.options import ServeOptions
from support.gateways import asked
from support.listening import listening
from support.pairs import Pair

HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
)


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=20)


def answers(url: str) -> bool:
    found = httpx2.post(f"{url}/v1/chat/completions", json=asked(), timeout=20)
    return found.status_code == 200


def until(url: str, line: str) -> None:
    """Wait until the metrics of the gateway contain a line."""

    async def main() -> None:
        with anyio.fail_after(20):
            async with httpx2.AsyncClient() as client:
                while line not in (await client.get(f"{url}/metrics")).text:
                    await anyio.sleep(0.01)

    anyio.run(main)


def test_silent_connections_do_not_block_others() -> None:
    with listening() as url, ExitStack() as stack:
        for number in range(60):
            link = stack.enter_context(connect(url))
            link.sendall([b"", b"POST /v1/ch", HEAD + b"Content-Length: 999\r\n\r\n{"][number % 3])
        assert answers(url)


def test_headers_that_never_end_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_protocol, "HEAD_SECONDS", 0.05)
    with listening() as url, connect(url) as silent, connect(url) as half:
        half.sendall(HEAD)
        assert silent.recv(1) == b""
        assert half.recv(1) == b""
        assert answers(url)


def test_a_client_that_reads_nothing_does_not_block_a_lane() -> None:
    script = ["word " * 60_000 + "\n\n"] * 20 + ["Answer: 4"]
    pair = Pair(target={"script": script, "tokenize": lambda text: [text]})
    with listening(pair) as url, connect(url) as link:
        body = json.dumps(asked(stream=True, dreamr={"method": "target"})).encode()
        link.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        until(url, 'dreamr:steps_total{fate="target"} 2')
        until(url, "dreamr:num_requests_running 0.0")


def test_a_client_that_disconnects_during_a_stream_is_noticed() -> None:
    endless = Pair(target={"token_seconds": math.inf}, draft={"token_seconds": math.inf})
    with listening(endless) as url:
        with connect(url) as link:
            body = json.dumps(asked(stream=True)).encode()
            link.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            until(url, "dreamr:num_requests_running 1.0")
        until(url, 'dreamr:request_failure_total{status="499"} 1.0')
        until(url, "dreamr:num_requests_running 0.0")


def test_steps_are_sent_at_once() -> None:
    with listen(ServeOptions(port=0)) as link:
        assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
