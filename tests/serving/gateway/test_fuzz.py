"""Random request bodies for every API, and random requests to every route."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import anyio
import httpx2
import pytest

from dreamr.answers import AnswerPiece, CallDelta
from support.allocated import Allocated, allocated
from support.bodies import VALID, random_bodies
from support.gateways import CHAT, Gateway, use
from support.listening import listening
from support.pairs import Pair

BODIES = 600  # of each API
# The same bodies are sent again: the first time, imports and caches take memory too, and the
# second time the last of them. A leak grows in each of the repetitions.
REPETITIONS = 3
# In one repetition, as a leak of one object of 250 bytes a request exceeds.
GROWTH = Allocated(blocks=7 * BODIES // 10, large_bytes=250 * BODIES)
KEPT = {"/v1/responses": Allocated(blocks=1_800, large_bytes=1_200_000)}  # they are stored


@pytest.mark.slow
@pytest.mark.parametrize("path", VALID)
def test_random_bodies_cause_no_500_and_no_leak(path: str) -> None:
    bodies = list(random_bodies(path, BODIES, random.Random(1)))
    limits = [sum(limit) for limit in zip(GROWTH, KEPT.get(path, (0, 0)), strict=True)]

    async def ask_all(gate: Gateway) -> dict[int, int]:
        statuses: dict[int, int] = {}
        for raw in bodies:
            found = await gate.ask(raw, path)
            statuses[found.status] = statuses.get(found.status, 0) + 1
            assert found.status < 500, raw
            assert found.ended
        pair.opened["target"].answered.clear()  # kept by the script for tests
        assert gate.open_streams == 0
        return statuses

    async def work(gate: Gateway) -> None:
        statuses = await ask_all(gate)
        assert statuses[200] > 50
        assert statuses[400] > 50
        growths = []
        before = allocated()
        for _ in range(REPETITIONS):
            await ask_all(gate)
            after = allocated()
            growths.append([new - old for new, old in zip(after, before, strict=True)])
            if all(found < limit for found, limit in zip(growths[-1], limits, strict=True)):
                return
            before = after
        pytest.fail(f"grew by (blocks, large bytes) {growths} in each of the repetitions")

    pieces = (AnswerPiece(calls=(CallDelta(0, "{}", "t1", "x"),), tokens=1),)
    pair = Pair(target={"answers": pieces})
    use(work, pair, bound=300)


METHODS = (
    "GET",
    "POST",
    "POST",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "get",
    "X-Y",
)
PATHS = (
    "/", "/health", "/metrics", "/v1/models", "/v1/models/dreamr", "/v1/models/", "/v1/models//x",
    "/v1/chat/completions", "/v1/chat/completions/",
    "/v1/messages", "/v1/responses/x", "/v1/completions", "/v1",
    "//", "/../health", "/%2e%2e/health",
    "/v1/models/%00", "/v1/models/%ff", "/v1/models/" + "x" * 3000, "/health?x=%zz", "*", "health",
    "http://127.0.0.1/health", "http://evil.example/health", "https://localhost:1/v1/models?x#y",
    "http://", "http://[::1/health", "127.0.0.1:80", "/é", "/\x7f",
)  # fmt: skip
HEADERS = (
    "Host: 127.0.0.1", "Host: localhost:99999", "Host: evil.example", "Host:", "Host: [::1]",
    "Content-Type: application/json", "Content-Type: text/plain", "Content-Type: \xff",
    "Content-Length: 5", "Content-Length: 0", "Content-Length: -1", "Content-Length: 9999999999999",
    "Content-Length: 5, 5", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: x", "Connection: close", "Connection: keep-alive, x",
    "Expect: 100-continue",
    "Upgrade: websocket", "Connection: upgrade", "Authorization: Bearer x", "Authorization: \xff",
    "Authorization: Basic", "Origin: https://evil.example", "Origin: null", "X-Request-Id: \x01",
    "X-Forwarded-For: 1.2.3.4", "Accept-Encoding: gzip", "Access-Control-Request-Method: POST",
    "Content-Encoding: gzip", "Range: bytes=0-1", "X: " + "y" * 9000, "bad header", ": x",
    "\x00: x",
)  # fmt: skip
REQUESTS = 600


def requests(draws: random.Random) -> Any:
    """Yield raw requests; some are pipelined, cut or damaged."""
    for _ in range(REQUESTS):
        raw = b""
        for _ in range(draws.choice((1, 1, 1, 2))):
            target = CHAT if draws.random() < 0.2 else draws.choice(PATHS)
            version = draws.choice(("HTTP/1.1",) * 16 + ("HTTP/1.0", "HTTP/2.0", "", "X"))
            lines = [
                f"{draws.choice(METHODS)} {target} {version}",
                *draws.choices(HEADERS, k=draws.choice((0, 0, 1, 3))),
            ]
            if draws.random() < 0.9:
                lines.insert(1, "Host: 127.0.0.1")
            raw += "\r\n".join([*lines, "", ""]).encode("latin-1")
            raw += draws.choice((b"", b"", b"{}", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n"))
        if draws.random() < 0.1:
            place = draws.randrange(len(raw))
            raw = raw[:place] + draws.randbytes(3) + raw[place + draws.randrange(3) :]
        yield raw


def responses(raw: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Parse the responses to pipelined requests, up to one without a length."""
    found = []
    while raw:
        head, end, raw = raw.partition(b"\r\n\r\n")
        assert end, "a response that is cut"
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        status = int(first.split()[1])
        # The answer to HEAD gives the length of a body that does not follow.
        size = 0 if raw.startswith(b"HTTP/") else int(headers.get("content-length", "0"))
        found.append((status, headers, raw[:size]))
        raw = raw[size:] if len(raw) >= size and raw[size : size + 5] in (b"", b"HTTP/") else b""
    return found


async def exchange(port: int, raw: bytes) -> bytes:
    """Send a request and the end of input; return everything until the connection is closed."""
    found = b""
    async with await anyio.connect_tcp("127.0.0.1", port) as link:
        with contextlib.suppress(anyio.BrokenResourceError, anyio.EndOfStream):
            await link.send(raw)
            # The end of input counts as a disconnect; requests that are cut get no answer before.
            with anyio.move_on_after(0.05):
                found += await link.receive()
            await link.send_eof()
            while True:
                found += await link.receive()
    return found


@pytest.mark.slow
def test_random_requests_to_every_route_cause_no_500() -> None:
    statuses: dict[int, int] = {}

    async def main(port: int) -> None:
        for raw in requests(random.Random(1)):
            with anyio.fail_after(20):
                answer = await exchange(port, raw)
            for status, headers, body in responses(answer):
                statuses[status] = statuses.get(status, 0) + 1
                assert status < 500, raw
                if status >= 400 and body and "access-control" not in str(headers):
                    described = json.loads(body)["error"]
                    assert {"message", "type"} <= set(described), raw
                    assert "\n" not in described["message"]
            assert b"Traceback" not in answer

    with listening(max_body=3000) as url:
        anyio.run(main, int(url.rpartition(":")[2]))
        assert httpx2.get(f"{url}/health").json()["status"] == "ok"
    assert {200, 400, 404, 405, 415} <= set(statuses)
    assert statuses[200] > 8
