"""Three replicas are restarted three times each under load: no request fails, no stream is cut."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from support.redis_server import RedisServer, needs_redis
from support.rolling import KINDS, Replica, restarted

pytest.importorskip("redis")
pytestmark = [pytest.mark.server, needs_redis]
REPLICAS, ROUNDS, CLIENTS = 3, 3, 1  # clients of each kind


def test_three_rounds_of_restarts_lose_nothing(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        flags = ("--store", server.url, "--drain", "0.5", "--grace", "30")
        replicas = [Replica(flags) for _ in range(REPLICAS)]
        try:
            for one in replicas:
                one.begin()
            for one in replicas:
                one.wait()
            found = anyio.run(restarted, replicas, ROUNDS, CLIENTS)
        finally:
            for one in replicas:
                one.kill()
    assert not [name for name in found if name.startswith("failed")], found
    assert all(found[kind.__name__] for kind in KINDS), found
    assert found["passed: refused"] + found["passed: draining"], found
