"""Readiness, over servers on real sockets that stop, come back, or come back as another model."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest

from dreamr import Reasoner, RunOptions
from dreamr._load import Load
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.engines.open import open_model
from dreamr.engines.waiting import WaitingOpener
from dreamr.errors import EngineError, EngineLost, ModelNotFound
from dreamr.serving.gateway import ServedPair, build_app
from dreamr.serving.gateway.readiness import Readiness
from dreamr.serving.options import ServeOptions
from support.gateways import Answer, Gateway, app_of
from support.pairs import Pair
from support.raw_server import closed_port
from support.served import Served
from support.sockets import on_socket

INTERVAL = 0.1


class Host:
    """A port on which a server can be started and stopped."""

    def __init__(self, **served: Any) -> None:
        self.port = closed_port()
        self.served = Served(script="Tea.\n\nAnswer: 3", **served)
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self.served, name, value)
        enter = self._stack.enter_context
        await anyio.to_thread.run_sync(enter, on_socket(self.served, port=self.port))

    async def start_again_as(self, model: str) -> None:
        await self.stop()
        await self.start(models=(model,))

    async def stop(self) -> None:
        await anyio.to_thread.run_sync(self._stack.close)


@asynccontextmanager
async def watched(target: Host, draft: Host, wait: float = 0) -> AsyncIterator[Gateway]:
    options = RunOptions(target=target.url, draft=draft.url)
    opener = WaitingOpener(open_model, wait, ("draft",))
    async with Reasoner(options, open_model=opener) as reasoner:
        limits = ServeOptions(ready_interval=INTERVAL)
        pair = ServedPair.of("dreamr", reasoner, limits, load=Load(aware=False))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pair.readiness.watch)
            yield Gateway(build_app([pair], limits), reasoner, Pair(), pair.load)
            tasks.cancel_scope.cancel()


def states_of(found: Answer) -> Any:
    """Return the states of the models of the only pair."""
    return found.json["pairs"]["dreamr"]["models"]


async def until(gate: Gateway, status: str, **ready: bool) -> Answer:
    """Ask until /ready has a status, and return its response."""
    while True:
        found = await gate.get("/ready")
        states = {role: model["ready"] for role, model in states_of(found).items()}
        if found.json["status"] == status and states == {**states, **ready}:
            return found
        await anyio.sleep(0.02)


async def until_metrics(gate: Gateway, *lines: str) -> None:
    """Ask until the metrics have all of these lines."""
    while not set(lines) <= set((await gate.get("/metrics")).body.decode().splitlines()):
        await anyio.sleep(0.02)


def use(work: Callable[[Host, Host], Awaitable[None]]) -> None:
    async def main() -> None:
        target, draft = Host(), Host()
        try:
            with anyio.fail_after(60):
                await work(target, draft)
        finally:
            with anyio.CancelScope(shield=True):
                await target.stop()
                await draft.stop()

    anyio.run(main)


def test_a_draft_that_stops_degrades_and_returns_by_itself() -> None:
    async def work(target: Host, draft: Host) -> None:
        await target.start()
        await draft.start()
        async with watched(target, draft) as gate:
            await until(gate, "ready")
            await draft.stop()
            found = await until(gate, "degraded", target=True, draft=False)
            assert found.status == 200
            models = states_of(found)
            assert models["draft"]["reason"] == (
                "cannot connect to its server (connection refused): is the server running?"
            )
            assert str(draft.port) not in str(models)
            await until_metrics(
                gate, 'dreamr:engine_up{model_name="dreamr",role="draft"} 0.0', "dreamr:ready 1.0"
            )
            await draft.start()
            await until(gate, "ready")

    use(work)


def test_without_the_target_the_gateway_lives_but_is_not_ready() -> None:
    async def work(target: Host, draft: Host) -> None:
        await target.start()
        await draft.start()
        async with watched(target, draft) as gate:
            await target.stop()
            assert (await until(gate, "lost", target=False, draft=True)).status == 503
            asked = len(draft.served.requests)
            assert (await gate.get("/health")).json == {"status": "ok"}
            await until_metrics(gate, "dreamr:ready 0.0")
            assert asked <= len(draft.served.requests)

    use(work)


def test_a_server_that_comes_back_with_another_model_is_named_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(target: Host, draft: Host) -> None:
        await target.start()
        await draft.start()
        async with watched(target, draft) as gate:
            await target.start_again_as("other")
            models: dict[str, Any] = {"target": {}}
            while "other" not in models["target"].get("reason", ""):
                models = states_of(await until(gate, "lost", target=False))
            assert "serve the same model again" in models["target"]["reason"]
            found = await gate.ask({"model": "dreamr", "messages": [
                {"role": "user", "content": "What?"}]})  # fmt: skip
            assert found.status == 503
            await target.start_again_as("tiny")
            await until(gate, "ready")

    with caplog.at_level(logging.INFO):
        use(work)
    assert "other" in caplog.text


def test_a_late_draft_joins_when_it_is_there() -> None:
    async def work(target: Host, draft: Host) -> None:
        await target.start()
        async with watched(target, draft, wait=2) as gate:
            models = states_of(await until(gate, "degraded", target=True, draft=False))
            assert models["draft"]["answered"] is None
            assert str(draft.port) not in str(models)
            await draft.start()
            await until(gate, "ready")

    use(work)


def test_requests_for_readiness_ask_no_engine() -> None:
    async def work(target: Host, draft: Host) -> None:
        await target.start()
        await draft.start()
        async with Reasoner(RunOptions(target=target.url, draft=draft.url)) as reasoner:
            gate = Gateway(app_of(reasoner), reasoner, Pair(), Load(aware=False))
            before = len(target.served.requests), len(draft.served.requests)
            for path in ("/health", "/ready", "/metrics"):
                assert (await gate.get(path)).status == 200
            assert (len(target.served.requests), len(draft.served.requests)) == before

    use(work)


def test_a_check_that_fails_in_code_of_others_is_a_model_that_does_not_answer() -> None:
    async def work() -> None:
        async with Reasoner(RunOptions(), open_model=Pair()) as reasoner:
            readiness = Readiness(reasoner, INTERVAL)

            async def fail() -> None:
                raise ValueError("a defect")

            reasoner.models["draft"].engine.check = fail  # type: ignore[method-assign]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(readiness.watch)
                with anyio.fail_after(60):
                    while readiness.is_ready("draft"):
                        await anyio.sleep(0.02)
                assert readiness.status == "degraded"
                tasks.cancel_scope.cancel()

    anyio.run(work)


# The check of one server


def checked(**served: Any) -> HttpEngine:
    """Open an engine, change its server, check it and return it."""
    before = Served()

    async def main() -> HttpEngine:
        engine = await HttpEngine.open(HttpOptions("http://host/v1"), before.transport)
        for name, value in served.items():
            setattr(before, name, value)
        try:
            await engine.check()
        finally:
            await engine.aclose()
        return engine

    return anyio.run(main)


def test_a_check_notices_another_model() -> None:
    with pytest.raises(ModelNotFound, match="serves other now, not tiny: serve the same model"):
        checked(models=("other",))
    checked(models=("other", "tiny"))


@pytest.mark.parametrize(
    ("status", "error"), [(500, EngineError), (503, EngineError), (401, EngineLost), (404, None)]
)
def test_a_check_reads_the_status_of_the_list(status: int, error: type[Exception] | None) -> None:
    if error is None:
        checked(list_status=status)
    else:
        with pytest.raises(error, match=str(status)):
            checked(list_status=status)
