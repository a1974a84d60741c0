"""Several answers to one request are several runs for load control and metrics."""

from __future__ import annotations

from typing import Any

import pytest

from dreamr._load import Load
from support.gateways import Answer, Gateway, asked, use
from support.pairs import Pair
from support.virtual_time import run_virtual

LONG = ("word " * 9 + "\n\n", "Answer: " + "word " * 9)


def timed() -> Pair:
    common: dict[str, Any] = {"script": LONG, "opinion": dict.fromkeys(LONG, 0.9)}
    return Pair({**common, "token_seconds": 0.01}, {**common, "token_seconds": 0.001})


def measured(choices: int) -> tuple[Load, Answer]:
    """Return what is measured in the target alone and then in a request for several answers."""

    async def work(gate: Gateway) -> tuple[Load, Answer]:
        await gate.ask(asked(dreamr={"method": "target"}))
        return gate.load, await gate.ask(asked(n=choices))

    return use(work, timed(), load=Load(), run=run_virtual)


def test_the_speed_up_does_not_depend_on_the_number_of_answers() -> None:
    one, several = measured(1)[0], measured(4)[0]
    assert one.gain is not None
    assert several.gain == pytest.approx(one.gain)


def test_the_estimate_of_the_target_alone_is_that_of_the_longest_answer() -> None:
    one, several = (measured(choices)[1].json["dreamr"] for choices in (1, 4))
    assert several["seconds"] == pytest.approx(one["seconds"])
    assert several["target_alone_seconds"] == pytest.approx(one["target_alone_seconds"])


def test_metrics_count_the_runs_of_all_answers() -> None:
    async def work(gate: Gateway) -> list[str]:
        await gate.ask(asked(n=3))
        return (await gate.get("/metrics")).body.decode().splitlines()

    lines = use(work, Pair())
    rejected = 'dreamr:steps_total{fate="rejected",model_name="dreamr"} 3.0'
    assert rejected in lines
    [runs] = [line for line in lines if line.startswith("dreamr:runs_total{")]
    assert runs.endswith(" 3.0")
    [judged] = [line for line in lines if line.startswith("dreamr:judge_seconds_count")]
    assert float(judged.split()[-1]) >= 3
