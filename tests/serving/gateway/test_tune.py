"""A gateway that tunes window, fallback and resamples."""

from __future__ import annotations

import re
from typing import Any

from dreamr import RunOptions
from support.gateways import Gateway, asked, use
from support.straying import Straying


def windows(*bodies: Any, **options: Any) -> list[str]:
    """Return the windows of the runs of these requests, from the metrics."""
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


def test_the_window_is_tuned_unless_a_request_sets_it() -> None:
    own = asked(dreamr={"window": 2})
    assert windows(asked(), own, options=RunOptions(window=3), tune=True) == ["2", "8"]


def test_nothing_is_tuned_by_default() -> None:
    assert windows(asked(), asked(), options=RunOptions(window=3)) == ["3", "3"]
