"""Clients that disconnect free what they held."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest

from support.gateways import Gateway, asked, use
from support.pairs import Pair


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_disconnects_frees_both_lanes(stream: bool) -> None:
    pair = Pair(target={"token_seconds": math.inf}, draft={"token_seconds": math.inf})

    async def work(gate: Gateway) -> None:
        leave = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: gate.ask(asked(stream=stream), leave=leave))
            while gate.open_streams < 2:
                await anyio.lowlevel.checkpoint()
            leave.set()
        assert gate.open_streams == 0
        figures = (await gate.get("/metrics")).body.decode()
        assert 'dreamr:request_failure_total{status="499"} 1.0' in figures
        assert "dreamr:num_requests_running 0.0" in figures

    use(work, pair)


def test_a_client_that_disconnects_while_waiting_frees_its_place() -> None:
    pair = Pair(target={"token_seconds": math.inf}, draft={"token_seconds": math.inf})

    async def work(gate: Gateway) -> None:
        first, second = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: gate.ask(asked(), leave=first))
            while gate.open_streams < 2:
                await anyio.lowlevel.checkpoint()
            tasks.start_soon(lambda: gate.ask(asked(), leave=second))
            while b"waiting 1.0" not in (await gate.get("/metrics")).body:
                await anyio.lowlevel.checkpoint()
            second.set()
            while b"waiting 0.0" not in (await gate.get("/metrics")).body:
                await anyio.lowlevel.checkpoint()
            first.set()

    use(work, pair, max_running=1)


def test_a_client_that_disconnects_before_its_body_arrives_is_counted() -> None:
    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def work(gate: Gateway) -> bytes:
        answer = await gate.ask(receive=gone)
        assert answer.status == 0
        return (await gate.get("/metrics")).body

    assert b'status="499"} 1.0' in use(work)
