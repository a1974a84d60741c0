"""Replicas are restarted one after the other under load: no request fails, no stream is cut."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from support.redis_server import RedisServer, needs_redis
from support.rolling import KINDS, Replica, restarted

pytest.importorskip("redis")
pytestmark = [needs_redis, pytest.mark.slow]


def test_a_rolling_restart_loses_nothing(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        flags = ("--store", server.url, "--drain", "1", "--grace", "30")
        replicas = [Replica(flags) for _ in range(2)]
        try:
            for one in replicas:
                one.begin()
            for one in replicas:
                one.wait()
            found = anyio.run(restarted, replicas, 1, 2)
        finally:
            for one in replicas:
                one.kill()
    assert not [name for name in found if name.startswith("failed")], found
    assert all(found[kind.__name__] for kind in KINDS), found
