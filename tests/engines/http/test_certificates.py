"""Certificates of servers: trusted, refused with what to do, and named by the environment."""

from __future__ import annotations

import ssl
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dreamr.errors import EngineError
from support.raw_server import raw_server, response
from support.reached import SCRIPT, answer, failure
from support.served import Served
from support.sockets import on_socket

pytestmark = pytest.mark.usefixtures("plain_environment")


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
