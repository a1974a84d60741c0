"""Why a server cannot be reached, told apart on real sockets."""

from __future__ import annotations

import ssl
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines import Context, SamplingParams
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.errors import EngineError, EngineLost, ModelNotFound
from support.raw_server import closed_port, raw_server, response
from support.served import Served
from support.sockets import on_socket

TALK = Conversation.from_prompt("What is 2 + 2?")
SCRIPT = "Two and two.\n\nAnswer: 4"
MANY = 150
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


def tls(authority: trustme.CA, name: str = "localhost", **times: datetime) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **times).configure_cert(context)
    return context


def answer(url: str, **options: Any) -> str:
    """The text that the server's model writes."""

    async def main() -> str:
        async with await HttpEngine.open(HttpOptions(url=url, **options)) as engine:
            stream = engine.stream(Context(TALK), SamplingParams())
            return "".join([chunk.text async for chunk in stream])

    return anyio.run(main)


def failure(url: str, kind: type[EngineError] = EngineLost, **options: Any) -> str:
    with pytest.raises(kind) as found:
        answer(url, **{"retries": 0, **options})
    message = str(found.value)
    assert message.isprintable()
    assert len(message) < 500
    return message


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


def test_a_server_with_a_certificate_of_an_own_authority_is_used_if_it_is_named(
    authority: trustme.CA, trusted: None, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(key)
    certificate.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    served = Served(script=SCRIPT)
    with on_socket(served, ssl_certfile=certificate, ssl_keyfile=key) as url:
        port = url.rpartition(":")[2]
        assert answer(f"https://localhost:{port}/v1") == SCRIPT


def test_a_certificate_that_is_not_trusted_is_told_with_what_to_do(authority: trustme.CA) -> None:
    with raw_server(response("200 OK"), tls(authority)) as server:
        message = failure(f"https://localhost:{server.port}/v1", retries=3)
        assert server.connections == 1  # it will not be trusted the next time either
    assert message.startswith(
        f"the certificate of https://localhost:{server.port} is not trusted "
        "(unable to get local issuer certificate): name a file with its certificate authority"
    )
    assert "SSL_CERT_FILE" in message
    assert "SSL_CERT_DIR" in message


@pytest.mark.parametrize(
    ("name", "times", "problem"),
    [
        ("other.example", {}, "is not valid for localhost: use a name that it was issued for"),
        (
            "localhost",
            {"not_before": datetime(2020, 1, 1), "not_after": datetime(2021, 1, 1)},
            "has expired: renew it, or check the clock of this machine",
        ),
        (
            "localhost",
            {"not_before": datetime(2990, 1, 1), "not_after": datetime(2991, 1, 1)},
            "is not valid yet: check the clocks of both machines",
        ),
    ],
)
def test_a_certificate_for_another_name_or_time_is_told_as_such(
    authority: trustme.CA, trusted: None, name: str, times: Any, problem: str
) -> None:
    with raw_server(response("200 OK"), tls(authority, name, **times)) as server:
        url = f"https://localhost:{server.port}"
        assert failure(f"{url}/v1") == f"the certificate of {url} {problem}"


def test_http_to_a_server_with_tls_names_https(authority: trustme.CA) -> None:
    with raw_server(response("200 OK"), tls(authority)) as server:
        url = f"localhost:{server.port}/v1"
        assert failure(f"http://{url}") == f"http://{url} expects HTTPS: write https://{url}"


@pytest.mark.parametrize(
    "said",
    [
        b"<center>The plain HTTP request was sent to HTTPS port</center>",
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"You're speaking plain HTTP to an SSL-enabled server port.",
    ],
)
def test_http_to_a_server_that_asks_for_https_names_https(said: bytes) -> None:
    with raw_server(response("400 Bad Request", said)) as server:
        url = f"localhost:{server.port}/v1"
        assert failure(f"http://{url}") == f"http://{url} expects HTTPS: write https://{url}"


def test_https_to_a_server_without_tls_names_http() -> None:
    with raw_server(response("400 Bad Request")) as server:
        url = f"localhost:{server.port}/v1"
        assert failure(f"https://{url}") == f"https://{url} does not speak TLS: write http://{url}"


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


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_variable_for_certificates_that_names_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "none"))
    message = failure("https://localhost/v1", EngineError)
    assert message.startswith(f"{variable} names {tmp_path / 'none'}, which is not a ")


def test_a_file_without_certificates_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "file"))
    assert "which cannot be read as certificates: name a file in PEM format" in failure(
        "https://localhost/v1", EngineError
    )


def test_http_works_with_a_variable_for_certificates_that_names_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/none")
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


def test_a_self_signed_certificate_is_trusted_if_the_file_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path)
    with on_socket(Served(script=SCRIPT), ssl_certfile=certificate, ssl_keyfile=key) as url:
        url = f"https://localhost:{url.rpartition(':')[2]}/v1"
        assert "is not trusted (self" in failure(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert answer(url) == SCRIPT


def self_signed(folder: Path) -> tuple[Path, Path]:
    """The files of a certificate for localhost and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2990, 1, 1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(identifier, critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files
