"""Runs without a client's connection: each ends once, whatever becomes of its lease."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import uvicorn
from uvicorn.lifespan.on import LifespanOn

from dreamr import Reasoner, RunOptions
from dreamr._load import Load
from dreamr.serving.gateway.run_log import event_data
from dreamr.serving.options import ServeOptions
from dreamr.serving.store import Appended, Kind, StoredRecord, StoredRun
from dreamr.serving.store.memory import MemoryRecords, MemoryRunLogs, MemoryStore
from support.gateways import Answer, Gateway, app_of
from support.pairs import QUESTION, Pair

pytestmark = pytest.mark.anyio
RESPONSES = "/v1/responses"
SECONDS = 30
LARGE = 200_000  # bytes


class LostAndFound(MemoryRunLogs):
    """Logs of which another replica takes the first, and dies."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = anyio.Event()
        self.given: list[str] = []

    async def append(
        self, name: str, events: Sequence[bytes], steps: Sequence[bytes], *, ended: bool = False
    ) -> Appended:
        if not self.lost.is_set():
            self.lost.set()
            return "lost"
        return await super().append(name, events, steps, ended=ended)

    async def take_over(self) -> StoredRun | None:
        await self.lost.wait()
        if self.given:
            return None
        (log,) = self._logs.values()
        self.given.append(log.run.name)
        return log.run


class EndedElsewhere(MemoryRunLogs):
    """Logs that another replica has taken over and ended."""

    async def append(
        self, name: str, events: Sequence[bytes], steps: Sequence[bytes], *, ended: bool = False
    ) -> Appended:
        await super().append(name, [b"data: theirs\n\n"], [], ended=True)
        return "lost"


class Broken(MemoryRunLogs):
    """Logs that cannot be written once."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False

    async def append(
        self, name: str, events: Sequence[bytes], steps: Sequence[bytes], *, ended: bool = False
    ) -> Appended:
        if not self.broken:
            self.broken = True
            raise OSError("no file descriptors")
        return await super().append(name, events, steps, ended=ended)


async def test_an_unexpected_error_ends_one_run_only() -> None:
    store = MemoryStore()
    store.runs = Broken()
    async with serving(store) as gate:
        assert await over(gate, await begun(gate)) == "failed"
        assert await over(gate, await begun(gate)) == "completed"


class SlowToKeep(MemoryRecords):
    """Records of which responses take a while."""

    async def put(self, kind: Kind, record: StoredRecord, seconds: float, size: int) -> bool:
        if kind.name == "response":
            for _ in range(1000):
                await anyio.sleep(0)
        return await super().put(kind, record, seconds, size)


async def test_a_response_can_be_continued_as_soon_as_it_has_ended() -> None:
    store = MemoryStore()
    store.records = SlowToKeep()
    async with serving(store) as gate:
        asked = {"model": "dreamr", "input": QUESTION}
        first = await gate.ask({**asked, "background": True, "stream": True}, RESPONSES)
        name = event_data(first.body)["response"]["id"]
        again = await gate.ask({**asked, "previous_response_id": name}, RESPONSES)
        assert again.status == 200


class Left(MemoryRunLogs):
    """Logs of large runs that another replica has left."""

    def __init__(self) -> None:
        super().__init__()
        body = {"model": "dreamr", "input": QUESTION, "user": "u" * (LARGE - 1000)}
        about = {
            "created": time.time(), "deadline": SECONDS, "body": json.dumps(body),
            "request": "", "session": None,
        }  # fmt: skip
        self.left = [
            StoredRun(f"resp_{number}", "10.0.0.1", json.dumps(about).encode())
            for number in range(3)
        ]

    async def take_over(self) -> StoredRun | None:
        return self.left.pop() if self.left else None


async def test_a_run_that_comes_back_before_its_first_copy_ended_ends_once() -> None:
    store = MemoryStore()
    store.runs = logs = LostAndFound()
    async with serving(store) as gate:
        first = await begun(gate)
        assert await over(gate, first) == "completed"
        assert logs.given == [first]
        assert await over(gate, await begun(gate)) == "completed", "others run after it"


async def test_a_stream_of_a_run_that_was_lost_has_only_what_the_store_has() -> None:
    store = MemoryStore()
    store.runs = EndedElsewhere()
    async with serving(store) as gate:
        asked = {"model": "dreamr", "input": QUESTION, "background": True, "stream": True}
        assert (await gate.ask(asked, RESPONSES)).body == b"data: theirs\n\n"


async def test_runs_that_were_accepted_wait_even_if_the_queue_is_full() -> None:
    async with serving(MemoryStore(), max_running=1, max_waiting=0) as gate:
        names = [await begun(gate) for _ in range(3)]
        assert [await over(gate, name) for name in names] == ["completed"] * 3


async def test_runs_that_were_accepted_wait_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamr.serving.gateway.stored_runs._PAUSE", (0.01, 0.01))
    store = MemoryStore()
    store.runs = logs = Left()
    runs = logs.left[:]
    for run in runs:
        assert await logs.open(run, SECONDS)
    limits = {"max_running": 1, "max_body": LARGE, "max_total_body": LARGE}
    async with serving(store, **limits) as gate:
        assert [await over(gate, run.name) for run in runs] == ["completed"] * 3


@asynccontextmanager
async def serving(store: MemoryStore, **limits: Any) -> AsyncIterator[Gateway]:
    """Run a gateway, whose work in the background must not fail."""
    pair = Pair()
    async with Reasoner(RunOptions(deterministic=True), open_model=pair) as reasoner:
        app = app_of(reasoner, ServeOptions(**limits), store=store)
        lifespan = LifespanOn(uvicorn.Config(app, lifespan="on", log_config=None))
        await lifespan.startup()
        with anyio.fail_after(SECONDS):
            yield Gateway(app, reasoner, pair, Load(aware=False))
            await lifespan.shutdown()
        assert not lifespan.should_exit


async def begun(gate: Gateway) -> str:
    """Begin a response in the background, and return its id."""
    asked = {"model": "dreamr", "input": QUESTION, "background": True}
    found: Answer = await gate.ask(asked, RESPONSES)
    return str(found.json["id"])


async def over(gate: Gateway, name: str) -> str:
    """Wait until a response has ended, and return its status."""
    while True:
        status = str((await gate.get(f"{RESPONSES}/{name}")).json["status"])
        if status not in ("queued", "in_progress"):
            return status
        await anyio.sleep(0.01)
