"""Runs without a client's connection: each ends once, whatever becomes of its lease."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest
import uvicorn
from uvicorn.lifespan.on import LifespanOn

from dreamr import Reasoner, RunOptions
from dreamr._load import Load
from dreamr.serving.store import Appended, StoredRun
from dreamr.serving.store.memory import MemoryRunLogs, MemoryStore
from support.gateways import Answer, Gateway, app_of
from support.pairs import QUESTION, Pair

pytestmark = pytest.mark.anyio
RESPONSES = "/v1/responses"
SECONDS = 30


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


async def test_a_run_that_comes_back_before_its_first_copy_ended_ends_once() -> None:
    store = MemoryStore()
    store.runs = logs = LostAndFound()
    pair = Pair()
    async with Reasoner(RunOptions(deterministic=True), open_model=pair) as reasoner:
        app = app_of(reasoner, store=store)
        gate = Gateway(app, reasoner, pair, Load(aware=False))
        lifespan = LifespanOn(uvicorn.Config(app, lifespan="on", log_config=None))
        await lifespan.startup()
        with anyio.fail_after(SECONDS):
            first = await begun(gate)
            assert await over(gate, first) == "completed"
            assert logs.given == [first]
            assert await over(gate, await begun(gate)) == "completed", "others run after it"
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
