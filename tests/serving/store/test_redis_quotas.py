"""Quotas of a replica that cannot reach Redis."""

from __future__ import annotations

import socket

import pytest

from dreamr.serving.store import Limits

RedisStore = pytest.importorskip("dreamr.serving.store.redis").RedisStore
pytestmark = pytest.mark.anyio


async def test_refused_requests_are_not_remembered_while_redis_is_lost() -> None:
    with socket.create_server(("127.0.0.1", 0)) as link:
        port = link.getsockname()[1]  # nothing listens there after the block
    store = RedisStore(f"redis://127.0.0.1:{port}/0")
    limits = Limits(requests=1)
    assert (await store.quotas.enter("a", "first", limits)).refused is None
    assert store.lost
    for number in range(3):
        assert (await store.quotas.enter("a", f"more {number}", limits)).refused == "requests"
    await store.quotas.leave("a", "first")
    assert store.quotas._alone == set()
    await store.aclose()
