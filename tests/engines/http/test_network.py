"""Why a server cannot be reached, told apart on real sockets."""

from __future__ import annotations

import anyio
import httpx2
import pytest

from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines import Context, SamplingParams
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.errors import EngineError, ModelNotFound
from support.raw_server import closed_port, raw_server, response
from support.reached import PROXIES, SCRIPT, TALK, answer, failure
from support.served import Served
from support.sockets import on_socket

pytestmark = pytest.mark.usefixtures("plain_environment")

MANY = 150


class Crowded(Served):
    """A server that answers requests when a number of them have come, from a point on."""

    holding, open = False, 0

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        found = await super().handle(request)
        if self.holding:
            self.open += 1
            while self.open < MANY:
                await anyio.sleep(0.01)
        return found


def test_any_number_of_streams_is_open_at_once() -> None:
    """Each run holds several; with a limit, all could wait for those that they hold themselves."""

    async def main(url: str) -> None:
        async def read() -> None:
            stream = engine.stream(Context(TALK), SamplingParams())
            assert "".join([chunk.text async for chunk in stream]) == SCRIPT

        async with await HttpEngine.open(HttpOptions(url=url)) as engine:
            served.holding = True
            with anyio.fail_after(60):
                async with anyio.create_task_group() as tasks:
                    for _ in range(MANY):
                        tasks.start_soon(read)

    served = Crowded(script=SCRIPT)
    with on_socket(served) as url:
        anyio.run(main, f"{url}/v1")
    assert served.open >= MANY


def test_a_refused_connection_an_unknown_name_and_no_answer_are_told_apart() -> None:
    port = closed_port()
    assert failure(f"http://localhost:{port}") == (
        f"cannot connect to http://localhost:{port}/v1/models (connection refused): "
        "is the server running?"
    )
    message = failure("http://no-such-host.invalid/v1")
    assert "(the name no-such-host.invalid cannot be resolved: " in message
    with raw_server(None) as server:
        message = failure(f"https://localhost:{server.port}", connect_seconds=0.2)
        assert "(no answer within 0.2 s): check the address and the firewall" in message
        message = failure(f"http://localhost:{server.port}", silent_seconds=0.2)
        assert message.endswith("/v1/models stopped responding: check the server's log")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "the server closed it without an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "the answer is not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", "the answer is not valid HTTP"),
    ],
)
def test_an_answer_that_is_not_http_is_told_without_its_bytes(said: bytes, why: str) -> None:
    with raw_server(said) as server:
        message = failure(f"http://localhost:{server.port}")
    assert message.endswith(f"/v1/models was interrupted: {why}")


@pytest.mark.parametrize(
    ("location", "advice"),
    [
        (
            "https://gpu.example/v1/models?token=s3cret#s3cret",
            "https://gpu.example/v1/models: write https://gpu.example/v1 as the address of the "
            "model",
        ),
        (
            "/api/v1/models/",
            "HERE/api/v1/models/: write HERE/api/v1 as the address of the model",
        ),
        (
            "https://me:s3cret@gpu.example/login?next=s3cret",
            "https://gpu.example/login: give the address of the API itself",
        ),
        ("", "no address: give the address of the API itself"),
        ("http://[bad/s3cret?s3cret", "http://[bad/s3cret: give the address of the API itself"),
    ],
)
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_names_the_address_to_use(status: str, location: str, advice: str) -> None:
    with raw_server(response(status, Location=location)) as server:
        here = f"http://localhost:{server.port}"
        message = failure(here, retries=3)
        assert len(server.requests) == 1
    assert message == f"{here}/v1/models redirects to {advice.replace('HERE', here)}"


@pytest.mark.parametrize(
    ("path", "hint"), [("/openai", "write HERE/openai/v1"), ("/api/v1", "correct the address")]
)
def test_an_address_without_an_api_is_told_as_such(path: str, hint: str) -> None:
    with raw_server(response("404 Not Found", b"<html>nothing here</html>")) as server:
        here = f"http://localhost:{server.port}"
        assert failure(f"{here}{path}", ModelNotFound) == (
            f"{here}{path}/models does not exist (status 404), so {here}{path} is not the address "
            f"of an API: {hint.replace('HERE', here)}"
        )


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "http_proxy"])
def test_a_proxy_of_the_environment_is_used_and_named_in_errors(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with raw_server(response("502 Bad Gateway", b"no route")) as proxy:
        monkeypatch.setenv(variable, f"http://me:s3cret@127.0.0.1:{proxy.port}")
        message = failure("http://gpu.example:8000/v1", EngineError)
        assert proxy.requests[0].startswith(b"GET http://gpu.example:8000/v1/models HTTP/1.1\r\n")
    shown = f"the proxy http://127.0.0.1:{proxy.port} of {variable}"
    assert message.startswith(f"http://gpu.example:8000/v1/models (through {shown}) returned")
    assert "s3cret" not in message


def test_https_goes_through_a_tunnel_and_its_refusal_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with raw_server(response("403 Forbidden")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
        message = failure("https://gpu.example/v1")
        assert proxy.requests[0].startswith(b"CONNECT gpu.example:443 HTTP/1.1\r\n")
    assert message == (
        f"the proxy http://127.0.0.1:{proxy.port} of HTTPS_PROXY does not connect to "
        "https://gpu.example/v1/models (403 Forbidden): correct HTTPS_PROXY, or add gpu.example "
        "to NO_PROXY"
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_requires_a_password_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    with raw_server(response("407 Proxy Authentication Required")) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        message = failure(f"{scheme}://gpu.example/v1")
    assert message.endswith(
        "requires a password: write http://user:password@host:port in ALL_PROXY"
    )


def test_a_proxy_that_is_not_there_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    message = failure("http://gpu.example/v1")
    assert "of HTTP_PROXY) (connection refused): correct HTTP_PROXY, or add gpu.example" in message


def test_a_loopback_address_is_reached_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES[:3]:
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    with on_socket(Served(script=SCRIPT)) as url:
        assert answer(url) == SCRIPT


def test_a_key_that_the_server_repeats_is_not_shown() -> None:
    def echo(request: bytes) -> bytes:
        return response("400 Bad Request", b'{"error": "bad request: ' + request[:400] + b'"}')

    with raw_server(echo) as server:
        message = failure(f"http://localhost:{server.port}", EngineError, api_key="sk-s3cret-key\n")
        assert b"Bearer sk-s3cret-key\r\n" in server.requests[0]
    assert "bad request" in message
    assert "s3cret" not in message


def test_a_key_in_an_answer_that_is_not_a_stream_is_not_shown() -> None:
    class Echoing(Served):
        async def handle(self, request: httpx2.Request) -> httpx2.Response:
            if b'"stream":true' in request.content.replace(b" ", b""):
                return httpx2.Response(200, text=f"denied: {request.headers['authorization']}")
            return await super().handle(request)

    with on_socket(Echoing(script=SCRIPT)) as url:
        message = failure(url, EngineError, api_key="sk-s3cret-key")
    assert "did not stream its answer but sent: denied: Bearer ***" in message


def test_a_question_that_cannot_be_sent_is_not_shown() -> None:
    async def main(url: str) -> str:
        async with await HttpEngine.open(HttpOptions(url=url)) as engine:
            talk = Conversation((Turn("user", (Text("Half an emoji \ud83d, s3cret"),)),))
            with pytest.raises(EngineError) as found:
                await engine.count(talk)
        return str(found.value)

    with on_socket(Served(script=SCRIPT)) as url:
        message = anyio.run(main, url)
    assert "contains characters that cannot be sent" in message
    assert "s3cret" not in message
