"""Chooses the layout of a pair on given devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dreamr.evaluation.simulator.devices import Devices
from dreamr.evaluation.simulator.predictions import BATCHED
from dreamr.evaluation.simulator.scenario import Scenario, simulate
from dreamr.schedules import ScheduleConfig
from dreamr.sizing.devices import Device
from dreamr.sizing.expectation import LIKELY, Expectation, expect_layout, layout_costs
from dreamr.sizing.layout import Layout, Pair, layouts

_CONCURRENCY = 4  # conversations at a time for which layouts are compared
_ENOUGH = 8  # usual conversations, from which on more of them do not count
_NEAR = 0.05  # of the time, below which fewer devices win


@dataclass(frozen=True, slots=True)
class Choice:
    """The layout of a pair and what it is expected to gain.

    Attributes:
        layout: The layout.
        expected: What the simulator expects.
        unused: Indices of devices without a model.
    """

    layout: Layout
    expected: Expectation
    unused: tuple[int, ...]


def choose(
    pair: Pair, devices: Sequence[Device], context: int | None = None, pixels: int | None = None
) -> Choice:
    """Choose the layout with the shortest predicted time of a question.

    Layouts that keep fewer conversations than others, and fewer than enough, are left out. Of
    layouts that are nearly as fast, the one with the fewest devices wins.

    Args:
        pair: The models.
        devices: The devices.
        context: Longest context in tokens. None: the longest that fits.
        pixels: Most pixels of an image. None: by the context.

    Raises:
        TooLarge: If no layout has enough memory.
    """
    found = layouts(pair, devices, context, pixels)
    wanted = min(_ENOUGH, max(layout.usual for layout in found))
    timed = [
        (_seconds(pair, layout, devices), layout) for layout in found if layout.usual >= wanted
    ]
    shortest = min(seconds for seconds, _ in timed)
    _, best = min(
        (one for one in timed if one[0] <= shortest * (1 + _NEAR)),
        key=lambda one: (one[1].devices, one[0]),
    )
    used = {*best.target.devices, *best.draft.devices}
    return Choice(
        best,
        expect_layout(pair, best, devices),
        tuple(index for index in range(len(devices)) if index not in used),
    )


def _seconds(pair: Pair, layout: Layout, devices: Sequence[Device]) -> float:
    scenario = Scenario(
        layout_costs(pair, layout, devices),
        options=ScheduleConfig(fallback="on-reject" if layout.colocated else "auto"),
        devices=Devices(colocated=layout.colocated, slowdown=BATCHED),
        acceptance=LIKELY,
        requests=2 * _CONCURRENCY,
        concurrency=_CONCURRENCY,
    )
    return simulate(scenario).latency
