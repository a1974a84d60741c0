"""Requests while a model is lost: they wait for it, do without it, or fail clearly."""

from __future__ import annotations

import logging

import anyio
import pytest

from dreamr.engines import Failure
from dreamr.errors import EngineLost
from support.gateways import Answer, Gateway, asked, use
from support.pairs import Pair

TARGET = {"method": "target"}


async def lose(gate: Gateway, role: str) -> None:
    await gate.reasoner.models[role].engine.aclose()  # type: ignore[index]


def test_a_request_waits_for_a_target_that_is_opened_again() -> None:
    async def work(gate: Gateway) -> None:
        await lose(gate, "target")
        found = await gate.ask(asked(dreamr=TARGET))
        assert found.status == 200
        assert (await gate.get("/ready")).json["status"] == "ready"
        metrics = (await gate.get("/metrics")).body.decode()
        assert 'dreamr:engine_up{model_name="dreamr",role="target"} 1.0' in metrics

    use(work)


def test_a_request_is_refused_while_the_target_cannot_be_opened(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pair = Pair()

    async def work(gate: Gateway) -> Answer:
        pair.errors["target"] = EngineLost("no memory on /srv/models/large")
        await lose(gate, "target")
        with anyio.fail_after(20):
            return await gate.ask(asked(dreamr=TARGET))

    with caplog.at_level(logging.INFO):
        found = use(work, pair)
    assert (found.status, found.json["error"]["code"]) == (503, "engine_lost")
    assert int(found.headers["retry-after"]) >= 1
    assert "no memory on a path" in found.json["error"]["message"]
    log = " ".join(record.getMessage() for record in caplog.records)
    assert "no memory on /srv/models/large" in log, "the log says where"


def test_a_request_gives_up_waiting_at_its_deadline() -> None:
    async def main_opening(gate: Gateway) -> Answer:
        async def never(_: object) -> None:
            await anyio.sleep_forever()

        gate.reasoner.models._open_model = never  # type: ignore[assignment]
        await lose(gate, "target")
        return await gate.ask(asked(dreamr={**TARGET, "deadline": 0.2}))

    assert use(main_opening).status == 504


def test_after_a_loss_in_a_run_later_requests_succeed() -> None:
    pair = Pair(target={"stream_failures": {0: Failure(EngineLost("killed"), tokens=3)}})

    async def work(gate: Gateway) -> None:
        pair.target = {}
        first = await gate.ask(asked(dreamr=TARGET))
        assert (first.status, first.json["error"]["code"]) == (503, "engine_lost")
        assert first.headers["retry-after"]
        second = await gate.ask(asked(dreamr=TARGET))
        assert second.status == 200

    use(work, pair)


def test_requests_do_without_a_lost_draft_until_it_is_back() -> None:
    pair = Pair()

    async def work(gate: Gateway) -> None:
        pair.errors["draft"] = EngineLost("down")
        await lose(gate, "draft")
        alone = await gate.ask(asked())
        assert alone.json["dreamr"]["level"] == "target_alone"
        pair.errors.clear()
        with anyio.fail_after(20):
            while gate.reasoner.models.lost:
                await anyio.sleep(0.01)
        both = await gate.ask(asked())
        assert both.json["dreamr"]["level"] == "full"
        assert both.json["dreamr"]["usage"]["draft"]["accepted"]

    use(work, pair)
