"""Clients that behave badly on a real connection."""

from __future__ import annotations

import http.client
import json
import math
import socket
from contextlib import ExitStack
from typing import Any
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

# Different in each step, so that the text does not loop.
WORDS = [first + second for first in "abcdefgh" for second in "mnopqrst"][:60]
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
)


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=20)


def response(link: socket.socket) -> tuple[int, bytes]:
    """Read one response, which must have an id, to the end of the connection."""
    found = http.client.HTTPResponse(link)
    found.begin()
    assert found.headers["x-request-id"]
    return found.status, found.read()


def error(link: socket.socket, status: int) -> dict[str, Any]:
    """Read one response that must be an error in OpenAI's format."""
    found, body = response(link)
    assert found == status
    described: dict[str, Any] = json.loads(body)["error"]
    assert set(described) == {"message", "type", "param", "code"}
    return described


def answers(url: str) -> bool:
    found = httpx2.post(f"{url}/v1/chat/completions", json=asked(), timeout=20)
    return found.status_code == 200


def until(url: str, line: str) -> None:
    """Wait until the metrics of the gateway contain a line."""

    async def main() -> None:
        with anyio.fail_after(60):
            async with httpx2.AsyncClient(timeout=30) as client:
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
    with listening() as url:
        with monkeypatch.context() as short:
            # The time begins with the connection: enough for the client to send something.
            short.setattr(_protocol, "HEAD_SECONDS", 1.0)
            with connect(url) as half, connect(url) as silent:
                half.sendall(HEAD)
                assert "did not arrive" in error(half, 408)["message"]
                assert silent.recv(1) == b""
        assert answers(url)


def test_a_client_that_reads_nothing_does_not_block_a_lane() -> None:
    script = [f"{word} " * 60_000 + "\n\n" for word in WORDS[:20]] + ["Answer: 4"]
    pair = Pair(target={"script": script, "tokenize": lambda text: [text]})
    with listening(pair) as url, connect(url) as link:
        body = json.dumps(asked(stream=True, dreamr={"method": "target"})).encode()
        link.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        until(url, 'dreamr:steps_total{fate="target",model_name="dreamr"} 2')
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


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/nowhere"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_too_much_gets_the_error(path: str, chunked: bool) -> None:
    size = 20_000_000
    with listening(max_body=5000) as url, connect(url) as link:
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}"
        )
        link.sendall(head.encode() + b"\r\n\r\n")
        body = b"[" * size
        link.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if chunked else body)
        status = {"/v1/models": 405, "/nowhere": 404}.get(path, 413)
        error(link, status)
        assert link.recv(1) == b""  # closed, and not reset


def test_a_client_that_waits_for_permission_gets_the_error_at_once() -> None:
    with listening(max_body=5000) as url, connect(url) as link:
        link.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 20000000\r\n\r\n")
        assert "5,000" in error(link, 413)["message"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \x00\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 300_000, 431),
        (b"GET /" + b"x" * 300_000, 431),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nnot a size\r\n", 400),
        (b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"DELETE /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 400),
        (b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    ],
)
def test_errors_before_the_routes_are_json(data: bytes, status: int) -> None:
    with listening() as url:
        with connect(url) as link:
            link.sendall(data)
            assert error(link, status)["type"] == "invalid_request_error"
        assert answers(url)


def test_a_whole_url_is_accepted_as_the_target() -> None:
    with listening() as url, connect(url) as link:
        target = url.encode()
        link.sendall(b"GET " + target + b"/v1/models?x=1 HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        status, body = response(link)
        assert status == 200
        assert json.loads(body)["object"] == "list"


def test_connections_beyond_the_limit_get_an_error() -> None:
    with listening(max_connections=2) as url, ExitStack() as stack:
        for _ in range(2):
            link = stack.enter_context(connect(url))
            link.sendall(HEAD + b"Content-Length: 9\r\n\r\n")
        with connect(url) as link:
            link.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert error(link, 503)["code"] == "overloaded"
        with connect(url) as link:
            link.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert response(link)[0] == 200
        stack.close()
        until(url, "dreamr:num_requests_running 0.0")
        assert answers(url)


def test_many_connections_beyond_the_limit_are_closed_at_once() -> None:
    with listening(max_connections=1) as url, ExitStack() as stack:
        links = [stack.enter_context(connect(url)) for _ in range(80)]
        assert links[-1].recv(1) == b""


def test_a_client_that_reads_nothing_loses_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_protocol, "WRITE_SECONDS", 0.2)
    script = [f"{word} " * 60_000 + "\n\n" for word in WORDS] + ["Answer: 4"]
    pair = Pair(target={"script": script, "tokenize": lambda text: [text]})
    with listening(pair) as url, connect(url) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = json.dumps(asked(stream=True, dreamr={"method": "target"})).encode()
        link.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        until(url, 'dreamr:request_failure_total{status="499"} 1.0')


def test_large_bodies_of_silent_clients_leave_room_for_others() -> None:
    limits = {"max_body": 300_000, "max_total_body": 600_000}
    with listening(**limits) as url, ExitStack() as stack:
        for _ in range(10):
            link = stack.enter_context(connect(url))
            link.sendall(HEAD + b'Content-Length: 300000\r\n\r\n{"model":"' + b"x" * 280_000)
        until(url, 'dreamr:request_failure_total{status="503"}')
        assert answers(url)
