"""What is wrong with a Redis server is said in one line, which never shows a password."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from dreamr.serving.batch import BatchError
from support.redis_server import RedisServer, needs_redis

connect = pytest.importorskip("dreamr.serving.batch.sharing").connect
pytestmark = pytest.mark.anyio


async def problem(url: str, password: str | None = None) -> str:
    with pytest.raises(BatchError) as caught:
        async with connect(url, password):
            pass
    return str(caught.value)


async def test_without_a_server_the_message_says_so() -> None:
    said = await problem("redis://user:secret@127.0.0.1:1/0")
    assert said == (
        "cannot reach the Redis server at redis://127.0.0.1:1/0: connection refused; start it, or "
        "check --share"
    )


async def test_an_unknown_host_is_named() -> None:
    said = await problem("redis://no-such-host.invalid:1/0")
    assert said.startswith("cannot reach the Redis server at redis://no-such-host.invalid:1/0: ")


async def test_another_kind_of_server_is_recognized() -> None:
    async def respond(stream: SocketStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stream.aclose()

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, respond)
        port = listener.extra(SocketAttribute.local_port)
        said = await problem(f"redis://127.0.0.1:{port}")
        tasks.cancel_scope.cancel()
    assert said.endswith("is not a Redis server: check --share")


@needs_redis
@pytest.mark.parametrize("given", [None, "wrong"])
async def test_a_missing_or_wrong_password_is_said(given: str | None, tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--requirepass", "secret") as server:
        said = await problem(server.url, given)
        assert said.endswith(
            "denies access: set DREAMR_REDIS_PASSWORD, or put user and password into the address"
        )
        async with connect(server.url, "secret") as link:
            assert await link.run("return 1", []) == 1
        async with connect(f"{server.url}?password=secret") as link:
            assert await link.run("return 1", []) == 1


@needs_redis
async def test_a_server_that_is_lost_is_reported_after_some_tries(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        async with connect(server.url, retries=2) as link:
            assert await link.run("return 1", []) == 1
            server.kill()
            with pytest.raises(BatchError, match=r"lost the Redis server at unix:.*run the same c"):
                await link.run("return 1", [])


@needs_redis
async def test_a_refused_command_is_reported_with_its_reason(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--maxmemory", "1") as server:
        async with connect(server.url) as link:
            with pytest.raises(BatchError, match=r"refused a command: .*maxmemory"):
                await link.run("return redis.call('SET', KEYS[1], 1)", ["k"])
