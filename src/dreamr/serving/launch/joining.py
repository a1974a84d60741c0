"""Servers join their router as they become healthy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
import httpx2

_ANSWER_SECONDS = 30.0  # for the router to add a server; it waits until the server is healthy
_PAUSE = 1.0  # seconds between two attempts
_TOGETHER = 2.0  # seconds for other servers to join, after the first


async def join(
    router: str,
    servers: Sequence[str],
    ready: Callable[[Sequence[str]], None],
    show: Callable[[str], None],
) -> None:
    """Add servers to a router, each when it is healthy; return when all are added.

    Args:
        router: Address of the router, which has started without servers.
        servers: Addresses of the servers, without /v1.
        ready: Called once when the router has servers, with those that are not healthy yet.
        show: Called with the address of each server that joins after that.
    """
    left = list(servers)
    first, every = anyio.Event(), anyio.Event()
    is_ready = False

    async def add(server: str) -> None:
        await _add(client, router, server)
        left.remove(server)
        first.set()
        if not left:
            every.set()
        if is_ready:
            show(server)

    async with (
        httpx2.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False) as client,
        anyio.create_task_group() as tasks,
    ):
        for server in servers:
            tasks.start_soon(add, server)
        await first.wait()
        with anyio.move_on_after(_TOGETHER):
            await every.wait()
        is_ready = True
        ready(tuple(left))


async def _add(client: httpx2.AsyncClient, router: str, server: str) -> None:
    """Ask a router to add a server until it has."""
    while True:
        try:
            answer = await client.post(f"{router}/add_worker", params={"url": server})
            if answer.status_code == httpx2.codes.OK or "already exists" in answer.text:
                return
        except httpx2.HTTPError:
            pass  # the router does not listen yet, or the server is not healthy
        await anyio.sleep(_PAUSE)
