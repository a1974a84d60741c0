"""A gateway that chooses window, fallback and resamples itself."""

from __future__ import annotations

import re
from typing import Any

from dreamr import RunOptions
from support.gateways import Gateway, asked, use
from support.straying import Straying


def windows(*bodies: Any, **options: Any) -> list[str]:
    """Those of the runs of these requests, as the metrics tell them."""
    seen: list[str] = []

    async def work(gate: Gateway) -> None:
        for body in bodies:
            assert (await gate.ask(body)).status == 200
        text = (await gate.get("/metrics")).body.decode()
        for row in re.finditer(r"^dreamr:runs_total{(.*?)} (\d+)", text, re.M):
            (window,) = re.findall(r'window="(\d+)"', row[1])
            seen.extend([window] * int(row[2]))

    use(work, Straying(ratio=0.99), **options)
    return sorted(seen)


def test_window_and_hedge_are_chosen_where_a_request_leaves_them_open() -> None:
    own = asked(dreamr={"window": 2})
    assert windows(asked(), own, options=RunOptions(window=3), tune=True) == ["2", "8"]


def test_nothing_is_tuned_unless_that_is_wanted() -> None:
    assert windows(asked(), asked(), options=RunOptions(window=3)) == ["3", "3"]
