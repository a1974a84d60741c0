"""Audits in the metrics and on the model card of a gateway."""

from __future__ import annotations

import math
import re

import anyio
import pytest

from dreamr import BadOption, RunOptions
from dreamr._load import Load
from dreamr.trace import Event, LaneClosed, LaneOpened, Result, Usage
from support.gateways import Gateway, asked, use
from support.pairs import WRONG
from support.straying import Straying


async def told(gate: Gateway) -> dict[str, float]:
    await anyio.wait_all_tasks_blocked()  # audits run after the answer
    text = (await gate.get("/metrics")).body.decode()
    text = text.replace('{model_name="dreamr"}', "")
    rows = re.findall(r"^dreamr:(audits_total\S+|drift_alarm|gate_threshold) (\S+)", text, re.M)
    return {re.sub(r'.*outcome="(\w+)".*', r"\1", name): float(value) for name, value in rows}


async def alarm_on_the_card(gate: Gateway) -> object:
    return (await gate.get("/v1/models")).json["data"][0]["dreamr"].get("drift")


def test_a_drifting_draft_shows_in_the_metrics() -> None:
    pair = Straying(ratio=0.99)

    async def work(gate: Gateway) -> None:
        for _ in range(20):
            assert (await gate.ask(asked())).status == 200
            peace = await told(gate)
        assert (peace["agreed"], peace["differed"], peace["drift_alarm"]) == (40, 0, 0)
        assert peace["gate_threshold"] == pytest.approx(0.55)  # the lower bound
        assert await alarm_on_the_card(gate) is False
        pair.says = WRONG
        for _ in range(10):
            await gate.ask(asked())
            drift = await told(gate)
        assert (drift["differed"], drift["drift_alarm"]) == (10, 1)
        assert drift["gate_threshold"] > 0.9
        assert await alarm_on_the_card(gate) is True

    use(work, pair, audit_every=1, audit_risk=0.05, audit_lower=True)


def test_without_audits_the_metrics_are_empty() -> None:
    async def work(gate: Gateway) -> None:
        await gate.ask(asked())
        found = await told(gate)
        assert math.isnan(found.pop("gate_threshold"))
        assert set(found.values()) == {0.0}
        assert await alarm_on_the_card(gate) is None

    use(work, Straying(says=WRONG))


def test_a_request_with_a_gate_of_its_own_is_not_audited() -> None:
    async def work(gate: Gateway) -> None:
        await gate.ask(asked(dreamr={"threshold": 0.2}))
        await gate.ask(asked(dreamr={"method": "target"}))
        assert (await told(gate))["agreed"] == 0
        await gate.ask(asked(dreamr={"window": 2}))
        assert (await told(gate))["agreed"] == 2

    use(work, Straying(), audit_every=1)


def _at_pace(token: float) -> Result:
    """Return a run with the given seconds per target token."""
    events: tuple[Event, ...] = (
        LaneOpened(0.0, 0, "target", 0),
        LaneClosed(1.0 + 20 * token, 0, "stop", 21, 1.0),
    )
    return Result("", (), Usage(), 1.0, "answer", events=events)


def test_while_the_target_is_busy_audits_are_dropped() -> None:
    load = Load()
    load.learn(_at_pace(0.01), alone=True)
    for _ in range(20):
        load.learn(_at_pace(0.1), alone=False)

    async def work(gate: Gateway) -> None:
        for _ in range(20):
            await gate.ask(asked())
        found = await told(gate)
        assert found["agreed"] == 0
        assert found["dropped"] > 0

    use(work, Straying(), load=load, options=RunOptions(deterministic=True), audit_every=1)


@pytest.mark.parametrize("wrong", [{"audit_every": -1}, {"audit_risk": 0.0}, {"audit_risk": 0.9}])
def test_bounds_of_audits_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(BadOption, match=next(iter(wrong)).replace("_", "-")):
        use(lambda gate: gate.ask(asked()), **wrong)
