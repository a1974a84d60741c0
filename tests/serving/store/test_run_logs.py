"""Logs of runs in Redis: what is large, and what happens while Redis is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dreamr.serving.store import StoredRun
from support.redis_server import needs_redis
from support.stores import replicas

pytestmark = [pytest.mark.anyio, needs_redis]
RUN = StoredRun("resp_1", "alice", b"{}")


async def test_large_steps_and_events_are_read_in_several_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replicas(tmp_path, 2) as (store, other):
        steps, sizes = [bytes([number]) * 2**20 for number in range(4)], []
        await store.runs.open(RUN, 60)
        for step in steps:
            await store.runs.append("resp_1", [step], [step, b"small"])
        await store.runs.give_back("resp_1")
        send = other.link.run

        async def measured(*given: Any, **more: Any) -> Any:
            found = await send(*given, **more)
            sizes.append(sum(len(one) for one in found or () if isinstance(one, bytes)))
            return found

        monkeypatch.setattr(other.link, "run", measured)
        found = await other.runs.take_over()
        assert found.steps == tuple(one for step in steps for one in (step, b"small"))
        events: list[bytes] = []
        over = False
        while len(events) < 4:
            some, over = await other.runs.read("resp_1", "alice", len(events))
            events += some
        assert (events, over) == (steps, False)
        assert 2**20 <= max(sizes) < 2 * 2**20
