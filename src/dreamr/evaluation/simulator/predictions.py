"""Predictions for a named pair on each number of devices."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import Devices
from dreamr.evaluation.simulator.machines import ModelPair, Placement
from dreamr.evaluation.simulator.scenario import Outcome, Scenario, simulate

BATCHED = 0.02  # slowdown per additional sequence; small, because decoding is memory-bound


@dataclass(frozen=True, slots=True)
class Placed:
    """A prediction for one placement.

    Attributes:
        placement: The devices of the pair.
        costs: Costs in seconds.
        outcome: Outcome of the method.
        alone: Outcome of the target alone on the target's devices.
        spread: Outcome of the target alone on all devices, or on the largest power of two of them.
    """

    placement: Placement
    costs: Costs
    outcome: Outcome
    alone: Outcome
    spread: Outcome

    @property
    def speedup(self) -> float:
        """Speed-up over the target alone on the target's devices."""
        return self.alone.seconds / self.outcome.seconds

    @property
    def equal_devices_speedup(self) -> float:
        """Speed-up over the target alone on all devices, including those of the draft."""
        return self.spread.seconds / self.outcome.seconds


def predict(pair: ModelPair, scenario: Scenario) -> list[Placed]:
    """Predict the scenario's method on each placement of the pair.

    Costs and devices of the scenario are replaced, except for the number of replicas.
    """
    return [_placed(pair, scenario, placement) for placement in pair.placements()]


def _placed(pair: ModelPair, scenario: Scenario, placement: Placement) -> Placed:
    costs = pair.costs(placement.target)
    devices = Devices(
        colocated=placement.colocated, slowdown=BATCHED, replicas=scenario.devices.replicas
    )
    placed = replace(scenario, costs=costs, devices=devices)
    alone = simulate(placed.alone())
    spread = alone
    most = 1 << (placement.devices.bit_length() - 1)
    if most != placement.target:
        spread = simulate(replace(placed, costs=pair.costs(most)).alone())
    return Placed(placement, costs, simulate(placed), alone, spread)
