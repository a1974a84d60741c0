"""Maps: one quantity as a function of two variables."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dreamr._output_files import replace_file
from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import Devices
from dreamr.evaluation.simulator.machines import ModelPair
from dreamr.evaluation.simulator.predictions import predict
from dreamr.evaluation.simulator.scenario import Scenario, simulate

ACCEPTANCES = tuple(round(0.05 * step, 2) for step in range(2, 20))
RATIOS = tuple(round(0.03 * (1 / 0.03) ** (step / 9), 3) for step in range(10))
VERDICTS = tuple(round(0.02 * 30 ** (step / 6), 3) for step in range(7))
WINDOWS = (1, 2, 3, 4, 6, 8)
PAIR_ACCEPTANCES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_AS_GOOD = 0.01  # relative difference below which two windows count as equally good

OnCell = Callable[[], None]  # called after each cell


@dataclass(frozen=True, slots=True)
class Map:
    """A quantity as a function of two variables; `values[j][i]` belongs to `xs[i]` and `ys[j]`.

    Attributes:
        x: Name of the first variable.
        y: Name of the second variable.
        value: Name of the quantity.
        xs: Values of the first variable.
        ys: Values of the second variable.
        values: The quantity, one row per value in `ys`.
    """

    x: str
    y: str
    value: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    def write_csv(self, path: Path) -> None:
        """Write one row per cell."""
        rows = [
            (x, y, round(value, 4))
            for y, row in zip(self.ys, self.values, strict=True)
            for x, value in zip(self.xs, row, strict=True)
        ]
        _write_csv(path, [(self.x, self.y, self.value), *rows])


def speedup_map(base: Scenario, verdict: float, on_cell: OnCell = lambda: None) -> Map:
    """Return the speed-up of the base's method by acceptance and cost of a drafted step.

    Args:
        base: The scenario.
        verdict: Cost of a judge call, in target-step units.
        on_cell: Called after each cell.
    """
    alone = {a: _alone(base, a) for a in ACCEPTANCES}
    rows = []
    for ratio in RATIOS:
        costs = _relative(base, ratio, verdict)
        row = []
        for a in ACCEPTANCES:
            row.append(alone[a] / simulate(replace(base, costs=costs, acceptance=a)).seconds)
            on_cell()
        rows.append(tuple(row))
    names = ("acceptance", "cost of a drafted step", "speed-up")
    return Map(*names, ACCEPTANCES, RATIOS, tuple(rows))


def window_map(base: Scenario, on_cell: OnCell = lambda: None) -> Map:
    """Return the smallest window within 1% of the best, by draft cost and judge cost."""
    rows = []
    for verdict in VERDICTS:
        row = []
        for ratio in RATIOS:
            costs = _relative(base, ratio, verdict)
            row.append(float(_best_window(replace(base, costs=costs))))
            on_cell()
        rows.append(tuple(row))
    names = ("cost of a drafted step", "cost of a verdict", "best window")
    return Map(*names, RATIOS, VERDICTS, tuple(rows))


def _best_window(scenario: Scenario) -> int:
    seconds = {
        window: simulate(
            replace(scenario, options=replace(scenario.options, window=window))
        ).seconds
        for window in WINDOWS
    }
    best = min(seconds.values())
    return next(w for w in WINDOWS if seconds[w] <= best * (1 + _AS_GOOD))


def _relative(base: Scenario, ratio: float, verdict: float) -> Costs:
    return Costs.relative(ratio, verdict, base.draft_steps.mean, base.target_steps.mean)


def _alone(base: Scenario, acceptance: float) -> float:
    costs = _relative(base, 1.0, 0.0)
    plain = replace(base, costs=costs, acceptance=acceptance, devices=Devices())
    return simulate(plain.alone()).seconds


@dataclass(frozen=True, slots=True)
class PairRow:
    """One placement of a pair.

    Attributes:
        gpu: Name of the device.
        placement: Devices of the target and of the draft, such as "2 + 1".
        costs: Costs, in seconds.
        speedups: Speed-ups over the target alone on its own devices, one per acceptance.
        equal_devices: Speed-ups over the target alone on all devices, one per acceptance.
    """

    gpu: str
    placement: str
    costs: Costs
    speedups: tuple[float, ...]
    equal_devices: tuple[float, ...]


def pair_rows(
    pairs: Sequence[tuple[str, ModelPair]], base: Scenario, on_cell: OnCell = lambda: None
) -> list[PairRow]:
    """Return one row of speed-ups over `PAIR_ACCEPTANCES` per device and placement."""
    rows = []
    for gpu, pair in pairs:
        columns = []
        for acceptance in PAIR_ACCEPTANCES:
            columns.append(predict(pair, replace(base, acceptance=acceptance)))
            on_cell()
        for placed in zip(*columns, strict=True):
            first = placed[0]
            rows.append(
                PairRow(
                    gpu,
                    first.placement.label,
                    first.costs,
                    tuple(one.speedup for one in placed),
                    tuple(one.equal_devices_speedup for one in placed),
                )
            )
    return rows


def write_pair_csv(rows: Sequence[PairRow], path: Path) -> None:
    """Write one row per cell."""
    cells = [
        (row.gpu, row.placement, acceptance, round(speedup, 4), round(equal, 4))
        for row in rows
        for acceptance, speedup, equal in zip(
            PAIR_ACCEPTANCES, row.speedups, row.equal_devices, strict=True
        )
    ]
    heads = ("gpu", "placement", "acceptance", "speed-up", "on equal devices")
    _write_csv(path, [heads, *cells])


def _write_csv(path: Path, rows: Sequence[Sequence[str | float]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    replace_file(path, text.getvalue().encode())
