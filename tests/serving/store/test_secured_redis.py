"""Redis with TLS, with users and passwords, and in a cluster."""

from __future__ import annotations

import contextlib
import gc
import signal
import socket
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest
import trustme

from dreamr._option_specs import BadOption
from dreamr.serving.launch.ports import free_port
from dreamr.serving.store import Kind, StoredRecord
from support.processes import until
from support.redis_server import COMMAND, needs_redis

RedisStore = pytest.importorskip("dreamr.serving.store.redis").RedisStore
pytestmark = [pytest.mark.anyio, needs_redis]
KIND = Kind("page", 100, 10**6)
PAGE = StoredRecord("1", "a", b"x")
SECONDS = 20


class Secured(NamedTuple):
    """A server with TLS, a password and a user, and the file of its authority."""

    port: int
    authority: Path
    process: subprocess.Popen[bytes]


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


@contextlib.contextmanager
def redis_at(port: int, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server on a port of this machine."""
    assert COMMAND is not None
    process = subprocess.Popen(
        [COMMAND, "--save", "", "--bind", "127.0.0.1", *arguments], stdout=subprocess.DEVNULL
    )
    try:
        until(lambda: process.poll() is not None or listens(port))
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait(SECONDS)


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    files = [tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem")]
    authority.cert_pem.write_to_path(files[0])
    certificate.cert_chain_pems[0].write_to_path(files[1])
    certificate.private_key_pem.write_to_path(files[2])
    port = free_port()
    names = ("--tls-ca-cert-file", "--tls-cert-file", "--tls-key-file")
    tls = [text for name, file in zip(names, files, strict=True) for text in (name, str(file))]
    more = ("--tls-auth-clients", "no", "--requirepass", "secret", "--dir", str(tmp_path))
    user = ("--user", "dreamr", "on", ">other", "~dreamr:*", "+@all")
    with redis_at(port, "--port", "0", "--tls-port", str(port), *tls, *more, *user) as process:
        yield Secured(port, files[0], process)


async def kept(url: str, password: str | None = None) -> bool:
    """Return whether a store keeps a record in Redis."""
    store = RedisStore(url, password)
    try:
        await store.check()
        await store.records.put(KIND, PAGE, 60, 1)
        return not store.lost and await store.records.get(KIND, "1", "a") == PAGE
    finally:
        await store.aclose()


async def test_tls_with_a_password_and_with_a_user(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, authority, _ = secured
    query = f"?ssl_ca_certs={authority}"
    assert await kept(f"rediss://127.0.0.1:{port}/0{query}", "secret")
    assert await kept(f"rediss://dreamr:other@localhost:{port}/0{query}")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    assert await kept(f"rediss://:secret@localhost:{port}/0", "not used")


async def test_a_certificate_that_is_not_trusted_is_an_error_at_the_start(secured: Secured) -> None:
    port = secured.port
    with pytest.raises(BadOption) as found:
        await kept(f"rediss://:secret@127.0.0.1:{port}/0")
    assert "its certificate is not trusted" in str(found.value)
    assert "SSL_CERT_FILE" in str(found.value)
    assert "secret" not in str(found.value)


async def test_a_wrong_password_over_tls_is_said(secured: Secured) -> None:
    port, authority, _ = secured
    with pytest.raises(BadOption, match="denies access: set DREAMR_REDIS_PASSWORD"):
        await kept(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority}", "wrong")


@pytest.mark.parametrize("asked", [False, True])
def test_a_server_that_hangs_leaves_no_connection_open(secured: Secured, asked: bool) -> None:
    url = f"rediss://:secret@127.0.0.1:{secured.port}/0?ssl_ca_certs={secured.authority}"

    async def use() -> None:
        store = RedisStore(url)
        await store.check()
        assert not store.lost
        secured.process.send_signal(signal.SIGSTOP)
        if asked:
            await store.records.put(KIND, PAGE, 60, 1)
            assert store.lost
        await store.aclose()

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        gc.collect()
        found.clear()  # what other tests left
        anyio.run(use)
        gc.collect()
    assert [str(one.message) for one in found if one.category is ResourceWarning] == []


async def test_an_address_without_tls_is_reported(
    secured: Secured, caplog: pytest.LogCaptureFixture
) -> None:
    port = secured.port
    assert not await kept(f"redis://127.0.0.1:{port}/0", "secret")
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"lost the Redis server at redis://127.0.0.1:{port}/0: ")


async def test_tls_to_a_server_without_it_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    with redis_at(port, "--port", str(port), "--dir", str(tmp_path)):
        assert not await kept(f"rediss://127.0.0.1:{port}/0")
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"lost the Redis server at rediss://127.0.0.1:{port}/0: ")


async def test_a_node_of_a_cluster_is_used_only_if_it_has_the_keys(tmp_path: Path) -> None:
    from redis import Redis

    ports = [free_port(), free_port()]
    with contextlib.ExitStack() as stack:
        for port in ports:
            (folder := tmp_path / str(port)).mkdir()
            bus = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
            stack.enter_context(redis_at(port, "--port", str(port), "--dir", str(folder), *bus))
        with Redis(port=ports[0]) as owner, Redis(port=ports[1]) as other:
            owner.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            bus_port = owner.config_get("cluster-port")["cluster-port"]
            other.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0], bus_port)
            nodes = (owner, other)
            until(lambda: all(one.cluster("INFO")["cluster_state"] == "ok" for one in nodes))
        assert await kept(f"redis://127.0.0.1:{ports[0]}/0")
        with pytest.raises(BadOption, match="is a node of a cluster: use a server that is none"):
            await kept(f"redis://127.0.0.1:{ports[1]}/0")
