"""Schedules in virtual time compared with their closed forms."""

from __future__ import annotations

import pytest

from dreamr.evaluation.simulator import Costs, Devices, run_scripts
from dreamr.evaluation.simulator import closed_loop as _closed
from dreamr.evaluation.simulator.clock import Clock
from dreamr.evaluation.simulator.devices import Device
from dreamr.evaluation.simulator.driver import VirtualRun
from dreamr.schedules import Schedule, ScheduleConfig, by_name
from support.even_scripts import TOKENS, even_script
from support.unlimited_fpsr import UnlimitedFpsr

CLOSE = 0.03
GRID = [(a, c, v) for a in (0.526, 0.7, 0.9) for c in (0.125, 0.4) for v in (0.0, 0.05, 0.3)]


def speedup(method: str, a: float, c: float, v: float, window: int = 4) -> float:
    scripts = [even_script(350, a, seed) for seed in range(2)]
    costs = Costs.relative(c, v, TOKENS, TOKENS)
    outcome = run_scripts(scripts, method, ScheduleConfig(window=window), costs, Devices())
    return sum(map(len, scripts)) / outcome.seconds


@pytest.mark.parametrize(("a", "c", "v"), GRID)
def test_sequential_matches_its_closed_form(a: float, c: float, v: float) -> None:
    assert speedup("sequential", a, c, v) == pytest.approx(_closed.sequential(a, c, v), rel=CLOSE)


@pytest.mark.parametrize(("a", "c", "v"), GRID)
def test_fpsr_matches_its_closed_form(a: float, c: float, v: float) -> None:
    expected = _closed.fpsr_frontier(a, c, v, 4)
    assert speedup("fpsr", a, c, v) == pytest.approx(expected, rel=CLOSE)


@pytest.mark.parametrize("a", [0.526, 0.7, 0.9])
def test_cheap_judge_calls_take_almost_no_extra_time(a: float) -> None:
    assert speedup("fpsr", a, 0.125, 0.01) == pytest.approx(_closed.fpsr(a, 0.125), rel=CLOSE)


@pytest.mark.parametrize("window", [1, 2, 3, 4, 8])
def test_every_window_matches_the_closed_form(window: int) -> None:
    expected = _closed.fpsr_frontier(0.8, 0.125, 0.3, window)
    assert speedup("fpsr", 0.8, 0.125, 0.3, window) == pytest.approx(expected, rel=CLOSE)


@pytest.mark.parametrize(("a", "c", "v"), [point for point in GRID if point[2] < point[1]])
def test_lookahead_matches_its_closed_form(a: float, c: float, v: float) -> None:
    expected = _closed.lookahead_async(a, c, v, 4)
    assert speedup("lookahead", a, c, v) == pytest.approx(expected, rel=CLOSE)


def test_the_target_alone_is_the_unit() -> None:
    assert speedup("target", 0.5, 0.1, 0.1) == pytest.approx(1.0)


def drive(schedule: Schedule, steps: int, a: float, c: float, v: float) -> float:
    clock = Clock()
    script = even_script(steps, a)
    devices = Devices()
    costs = Costs.relative(c, v, TOKENS, TOKENS)
    pair = {"draft": Device(clock, devices), "target": Device(clock, devices)}
    run = VirtualRun(clock, pair, schedule, script, costs)  # type: ignore[arg-type]
    run.start()
    clock.run()
    assert run.tally.steps == steps
    return steps / run.tally.seconds


@pytest.mark.parametrize(
    ("a", "v", "window", "figure"),
    [
        (0.526, 0.05, 4, 1.86),
        (0.7, 0.05, 4, 2.58),
        (0.9, 0.05, 4, 4.70),
        (0.8, 0.05, 2, 3.33),
        (0.8, 0.3, 1, 2.03),
        (0.8, 0.3, 2, 2.85),
        (0.8, 0.3, 3, 3.24),
        (0.8, 0.3, 4, 3.33),
    ],
)
def test_a_schedule_with_many_calls_and_lanes_gives_the_known_figures(
    a: float, v: float, window: int, figure: float
) -> None:
    schedule = UnlimitedFpsr(ScheduleConfig(window=window, max_steps=1000, max_tokens=10**6))
    assert drive(schedule, 1000, a, 0.125, v) == pytest.approx(figure, rel=CLOSE)


def test_the_driver_takes_a_schedule_from_the_registry() -> None:
    schedule = by_name("fpsr", ScheduleConfig(max_steps=300, max_tokens=10**6))
    assert drive(schedule, 300, 0.8, 0.125, 0.05) > 2.5
